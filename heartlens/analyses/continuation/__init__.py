"""Which heads, MLPs and layers keep the rhythm of what a next-token model generates?

Each window's first `n_prompt` tokens are continued until the window is full, intact and with each part replaced, with the same random
numbers. Of the new tokens alone: heart rate (60 over the median interval of detected beats), period (autocorrelation, no beats needed),
their absolute error against the window's real rest, and the share of continuations that repeat at all or that *keep* rate or period (within
10 % of the real rest's; one without any keeps none). `effect` = ratio of sums over units (persons; recordings where persons are not
known), ablated - intact. Claims are decided in `inference/verdict.py`, each for one readout among all parts of a kind. The intact model
*keeps* the rhythm: its continuations keep the period of their own window more often than that of others'. A part *changes* a readout: q <
0.05 (units' two versions swapped, two-sided), 95 % interval without 0, on the same side also against the intact model with other random
numbers. A head *matters*: it changes it beyond what heads of the same norm of z W_O show, their spread included (`inference/peers.py`).
How: mean over a sample at the same place of the window; zero; resample: another record's; none: no part is replaced, and only whether the
intact model keeps the rhythm is asked: 2 continuations in the place of 82 with 8 layers of 8 heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import xarray as xr

from heartlens.analyses.continuation.sums import sample_of, sums_of
from heartlens.findings import Findings
from heartlens.options import check
from heartlens.refusal import Refusal, unknown
from heartlens.tally import Tally
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

NONE = "none"
HOWS = ("mean", "zero", "resample", NONE)


@dataclass(frozen=True)
class Continuation:
    """The options of a continuation. `reference` and `others` are what `prepared` finds: activations, and real windows to compare with."""

    how: Annotated[str, f"what replaces an activation: {', '.join(HOWS)}"] = "mean"
    n_prompt: Annotated[int, "tokens that are continued until the window of 500 is full"] = 250
    n_draws: Annotated[int, "continuations of each window and variant"] = 4
    n_reference: Annotated[int, "windows, evenly over records, that means, resamples and others' rhythms are taken from"] = 16
    n_permutations: Annotated[int, "draws of each null"] = 9999
    seed: Annotated[int, "seed of continuations, intervals and p-values"] = 0
    reference: Any = field(default=None, compare=False, repr=False)
    others: Windows | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"n_prompt": (100, 400), "n_draws": (1, 1000), "n_reference": (1, 10_000)}
        check(self, legal | {"n_permutations": (99, 999_999), "seed": (0, 2**31)})
        if self.how not in HOWS:
            raise unknown("how", self.how, HOWS)

    def prepared(self, model: Any, windows: Windows) -> "Continuation":
        """With the activations on a sample of all windows, and that sample's windows. Refuses a task head, and to resample one record."""
        from heartlens.models.interventions.ablations import reference_of
        from heartlens.models.interventions.continuation import refuse_task_head
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        refuse_task_head(subject)
        if self.how == "resample" and len(windows.units) < 2:
            raise Refusal("resample takes another record's activation, and there is one record; give more, or --how mean")
        sample = windows.spread(self.n_reference)
        return replace(self, reference=None if self.how in ("zero", NONE) else reference_of(subject, sample), others=sample)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of every readout of what each variant generates. Unprepared: `zero` alone, without others."""
        from heartlens.models.interventions.ablations import values_of
        from heartlens.models.interventions.continuation import variants_continued
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        values = None if self.how == NONE else partial(values_of, subject, self.how, self.reference)
        made = variants_continued(subject, windows, values, self.n_prompt, self.n_draws, self.seed)
        sums = sums_of(subject, windows, made, self.others, self.n_prompt)
        return Tally(sums.assign_attrs(how=self.how, n_draws=self.n_draws), sample_of(subject, windows, made))

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Effects, intervals, p- and q-values and what is concluded; see the module's first lines."""
        from heartlens.analyses.continuation.summary import summarized

        summary = summarized(tally.sums, self.seed, self.n_permutations)
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """How this analysis' rules are put on trial."""
        from heartlens.analyses.continuation.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Which heads matter for the rhythm, beside what heads of their norm do, and what one window's continuations look like."""
        from heartlens.analyses.continuation.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """Which parts keep the rhythm, in words."""
        from heartlens.analyses.continuation.words import say

        return say(summary)
