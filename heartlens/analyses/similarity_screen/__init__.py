"""How alike are a few tokens to a reference token, level by level? The published similarity screen, beside tokens taken at random.

Cosine of raw residual vectors (no LayerNorm, no centring) between the reference and each other token, at the embedding and after each
block. `any` is the mean over all tokens of the window but the reference. Means over a record's windows, then over records; the screen is
made for one window, where no interval exists. For claims over records see `homonyms`. After HeartGPT, arXiv 2407.20775.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8

from heartlens.axes import CONTEXT
from heartlens.findings import Findings
from heartlens.measures.homonyms import cosine_to
from heartlens.options import check
from heartlens.refusal import Refusal
from heartlens.tally import Tally, by_record
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure


@dataclass(frozen=True)
class SimilarityScreen:
    """The options of a similarity screen; tokens count from 1, as on the published one."""

    reference: Annotated[int, "the reference token, 1 to 500"] = 485
    others: Annotated[str, "the tokens compared with it, with commas between"] = "460,71"
    seed = 0  # nothing is drawn

    def __post_init__(self) -> None:
        check(self, {"reference": (1, CONTEXT)})
        _ = self.places

    @property
    def places(self) -> list[int]:
        """The other tokens. Refuses what is not a list of token numbers."""
        parts = [part.strip() for part in self.others.split(",")]
        wrong = [part for part in parts if not (part.isdecimal() and 1 <= int(part) <= CONTEXT)]
        if wrong:
            raise Refusal(f"others is {self.others!r}; give token numbers from 1 to {CONTEXT} with commas between, as 460,71")
        return [int(part) for part in parts]

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of the cosines by level."""
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        screens = [similarity_screen(subject, tokens, self.reference, range(1, CONTEXT + 1)) for tokens in windows.tokens]
        cosine = np.stack([screen.values for screen in screens])
        rest = np.delete(cosine, self.reference - 1, axis=-1).mean(axis=-1)
        sums = {
            "cosine": (("record", "level", "other"), by_record(cosine[..., [place - 1 for place in self.places]], windows.record)),
            "cosine_any": (("record", "level"), by_record(rest, windows.record)),
            "n_windows": (("record",), by_record(np.ones(len(windows)), windows.record)),
        }
        places = {"record": windows.records, "level": screens[0]["level"].values, "other": self.places}
        first = [int(np.argmin(windows.identity))]
        kept = {"token": (("example", "time"), windows.tokens[first]), "example_record": (("example",), windows.record[first])}
        sample = xr.Dataset(kept | {"identity": (("example",), windows.identity[first])})
        return Tally(xr.Dataset(sums, coords=places, attrs={"kind": windows.kind, "reference": self.reference}), sample)

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """The mean cosines."""
        sums = tally.sums
        means = (sums[["cosine", "cosine_any"]] / sums["n_windows"]).mean("record")
        counts = {"n_records": sums.sizes["record"], "n_windows": int(sums["n_windows"].sum())}
        return xr.merge([means.assign_attrs(sums.attrs | counts), tally.sample], join="exact", combine_attrs="override")

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """The window with its marked tokens, and the cosines by level."""
        from heartlens.analyses.similarity_screen.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """The cosines in a table."""
        reference, token = summary.attrs["reference"], summary["token"].values[0]
        columns = tuple(f"token {place} (value {token[place - 1]})" for place in summary["other"].values)
        values = np.column_stack([summary["cosine"].values, summary["cosine_any"].values])
        rows = tuple((str(level), *(f"{v:.2f}" for v in row)) for level, row in zip(summary["level"].values, values, strict=True))
        ends = ", ".join(f"{name} from {row[0]:.2f} to {row[-1]:.2f}" for name, row in zip((*columns, "any token"), values.T, strict=True))
        counted = f"{summary.attrs['n_windows']} window(s) of {summary.attrs['n_records']} record(s)"
        return Findings(
            title=f"Similarity to token {reference} (value {token[reference - 1]}), {summary.attrs.get('checkpoint', 'a model')}",
            question="How alike are these tokens to the reference, level by level?",
            verdict=(f"Cosine to token {reference}, from the embedding to the last block, on {counted}: {ends}.",),
            columns=("level", *columns, "any token"),
            rows=rows,
            cautions=("A few tokens of a window show what can happen, not how often; homonyms tests it over records.",),
            methods=("Cosine of raw residual vectors, as published; `any`: mean over all other tokens of the window.",),
        )


def similarity_screen(
    model: Any, tokens: UInt8[np.ndarray, " time"], reference: int, others: Sequence[int]
) -> Float[xr.DataArray, "level other"]:
    """The published similarity screen: cosine of raw residual vectors between the token `reference` and each of `others`, by level.

    Tokens count from 1, as on the screen; refuses those outside the window.
    """
    from heartlens.models.residual import level_names, residual_by_level
    from heartlens.models.subject import subject_of

    for place in (reference, *others):
        if not 1 <= place <= len(tokens):
            raise Refusal(f"token {place} is not in the window; tokens count from 1 to {len(tokens)}")
    subject = subject_of(model)
    cosine = cosine_to(residual_by_level(subject, tokens[None])[:, 0], reference - 1)[:, [place - 1 for place in others]]
    return xr.DataArray(cosine, coords={"level": level_names(subject.sizes.n_layers), "other": list(others)}, dims=("level", "other"))
