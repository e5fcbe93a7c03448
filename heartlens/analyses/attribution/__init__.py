"""Which parts of the model make its output? Exact direct attribution, the logit lens by level, and patching against its estimate.

*Direct*: with each token's final LayerNorm scale as it is, the logit is a sum of terms: embedding, position, every head, attention bias and
MLP, and a constant; compared with the model's output at run time. Read is a task head's logit (at its token; at beats and elsewhere), or
the true next token's logit less the mean logit, by the wave it lies in. Mean over a unit's tokens, then over units (persons; recordings
where persons are not known). A part *adds* to the output (`inference/verdict.py`) if its 95 % interval leaves out 0, q < 0.05 (signs drawn;
Benjamini-Hochberg over the parts of its kind, of one output), and its interval lies further from 0 than that of any part of its kind in
twins, models with the same weights in random order, on the same windows (p at most 0.05). `variation`: the part of the differences
between units' outputs that a term makes (they sum to 1). *Patching*: each part's activation replaced by that in a window of another
person, `sum of signed changes / sum of |whole change|`; exact, and estimated by integrated gradients (`attribution`) and by one gradient,
with the rank agreement over heads. A part *carries* the change if its exact interval leaves out 0 and q < 0.05; asked only where the whole
change itself is shown to be larger than the smallest of interest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr

from heartlens.analyses.attribution.outputs import Asked, asked
from heartlens.analysis import Twinned, beside
from heartlens.findings import Findings
from heartlens.options import check
from heartlens.tally import Tally, by_record, examples
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

Arrays = dict[str, np.ndarray]

AXES_OF: dict[str, tuple[str, ...]] = {  # every sum is kept by record; the other axes of each
    "direct": ("output", "layer", "head"),
    "direct_mlp": ("output", "layer"),
    "direct_attention_bias": ("output", "layer"),
    "direct_embedding": ("output",),
    "direct_position": ("output",),
    "direct_constant": ("output",),
    "n_tokens": ("output",),
    "lens_logit": ("output", "level"),
    "lens_cross_entropy": ("level",),
    **{f"{how}_patching": ("layer", "head") for how in ("activation", "attribution", "gradient")},
    **{f"{how}_patching_mlp": ("layer",) for how in ("activation", "attribution", "gradient")},
    "patched_difference": (),
    "n_pairs": (),
    "n_windows": (),
}


@dataclass(frozen=True)
class Attribution(Twinned):
    """The options of an attribution. `pairs`, no option, is what `prepared` finds: by a window's identity, the tokens patched in."""

    patch_windows: Annotated[int, "windows that are patched, chosen by a hash of their content (0: none)"] = 64
    n_steps: Annotated[int, "gradients between clean and corrupt in the estimate of patching"] = 4
    n_permutations: Annotated[int, "draws of the sign flips"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 39
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 16
    seed: Annotated[int, "seed of twins, intervals and p-values"] = 0
    pairs: Mapping[str, np.ndarray] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"patch_windows": (0, 1_000_000), "n_steps": (1, 1000), "n_permutations": (99, 999_999)}
        check(self, legal | {"n_twins": (0, 10_000), "twin_windows": (1, 1_000_000), "seed": (0, 2**31)})

    def prepared(self, model: Any, windows: Windows) -> "Attribution":
        """The same, knowing which windows are patched with which of another record; with one record none is.

        Unprepared, every window is patched with its own tokens in reverse order.
        """
        from heartlens.models.interventions.replacement import partners

        if len(windows.units) < 2 or not self.patch_windows:
            return replace(self, pairs={})
        chosen = windows[np.argsort(windows.identity)[: self.patch_windows]]
        partner = windows.tokens[partners(chosen, windows)]
        return replace(self, pairs=dict(zip(map(str, chosen.identity), partner, strict=True)))

    def for_twins(self) -> "Attribution":
        """The measurement of a twin, of which only the direct attribution is needed."""
        return replace(self, patch_windows=0)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of every part's direct attribution, the lens, and the effects of patching."""
        from heartlens.models.interventions.attribution import direct_terms, lens, tokens_of
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        what = asked(subject, windows)
        tokens, token = tokens_of(subject.engine, windows.tokens), None if what.token is None else tokens_of(subject.engine, what.token)
        terms = {name: _read_at(what.inside, term.cpu().numpy()) for name, term in direct_terms(subject.engine, tokens, token).items()}
        seen = lens(subject.engine, tokens, token)
        sums = terms | {
            "n_tokens": what.inside.sum(axis=-1),
            "lens_logit": np.einsum("bot,blt->bol", what.inside, seen.logit.double().cpu().numpy()),
            "lens_cross_entropy": seen.nats.double().cpu().numpy(),
            "n_windows": np.ones(len(windows)),
            **self._patched(subject, windows, what),
        }
        named = self._named({name: by_record(value, windows.record) for name, value in sums.items()}, what, windows)
        return Tally(named, examples(windows, lens_line=(("level", "time"), seen.line.float().cpu().numpy())))

    def _patched(self, subject: Any, windows: Windows, what: Asked) -> Arrays:
        """The sums of patching by window; 0 for windows that are not patched."""
        n_layers, n_heads = subject.sizes.n_layers, subject.sizes.n_heads
        sizes = {"layer": n_layers, "head": n_heads}
        sums = {name: np.zeros((len(windows), *(sizes[axis] for axis in axes))) for name, axes in AXES_OF.items() if "patch" in name}
        sums["n_pairs"] = np.zeros(len(windows))
        for window, identity in enumerate(map(str, windows.identity)):
            partner = windows.tokens[window, ::-1].copy() if self.pairs is None else self.pairs.get(identity)
            if partner is not None and self.patch_windows:
                for name, value in self._pair(subject, windows.tokens[window], partner, what, window).items():
                    sums[name][window] = value
        return sums

    def _pair(self, subject: Any, clean: np.ndarray, corrupt: np.ndarray, what: Asked, window: int) -> Arrays:
        """The effects of one window's parts, towards (+) or away from what the whole partner does to the output."""
        from heartlens.models.interventions.attribution import estimated_effects, exact_effects, tokens_of, value_of, whole_effect

        value = value_of(None if what.token is None else tokens_of(subject.engine, what.token[[window]]), what.value[[window]])
        pair = (tokens_of(subject.engine, clean[None]), tokens_of(subject.engine, corrupt[None]))
        whole = float(whole_effect(subject.engine, *pair, value))
        estimated = zip(("attribution", "gradient"), estimated_effects(subject.engine, *pair, value, self.n_steps), strict=True)
        by_method = {"activation": exact_effects(subject.engine, *pair, value), **dict(estimated)}
        sums = {"patched_difference": np.array(abs(whole)), "n_pairs": np.array(1.0)}
        for name, effects in by_method.items():
            for part, of in (("", effects.heads), ("_mlp", effects.mlps)):
                sums[f"{name}_patching{part}"] = np.sign(whole) * of[0].double().cpu().numpy()
        return sums

    def _named(self, sums: Arrays, what: Asked, windows: Windows) -> xr.Dataset:
        """The sums under their axes."""
        from heartlens.models.residual import level_names

        n_layers, n_heads = sums["direct"].shape[2:]
        places = {
            "record": windows.records,
            "output": list(what.names),
            "layer": np.arange(n_layers),
            "head": np.arange(n_heads),
            "level": level_names(n_layers),
        }
        attrs = {"kind": windows.kind, "reads": "next token" if what.token is not None else "task head"}
        return xr.Dataset({name: (("record", *AXES_OF[name]), sums[name]) for name in AXES_OF}, coords=places, attrs=attrs)

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Direct attributions, their share of the variation, the lens and patching; with intervals, and what is concluded."""
        from heartlens.analyses.attribution.summary import summarized

        summary = summarized(tally.sums, beside(twins), self.seed, self.n_permutations)
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """How this analysis' rules are put on trial."""
        from heartlens.analyses.attribution.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Direct attribution and patching by head, the lens by level, and a window as the lens shows it."""
        from heartlens.analyses.attribution.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """Which parts make the output, in words."""
        from heartlens.analyses.attribution.words import say

        return say(summary)


def _read_at(inside: np.ndarray, term: np.ndarray) -> np.ndarray:
    """The sum of a term over the tokens each output is read at: (window, time, ...) -> (window, output, ...)."""
    return np.einsum("bot,bt...->bo...", inside.astype(float), term)
