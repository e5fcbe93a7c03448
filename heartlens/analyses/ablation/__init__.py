"""What does a model need? Every head, MLP and layer taken away, alone and one after the other, and what that does to each readout.

`effect = (sum over units of the readout ablated - intact) / (sum of what it is divided by)`: nats a token, a logit a window, missed beats
for each true one (`models/readouts.py`); for AUC, F1 and calibration the difference. Units are persons; recordings, where persons are not
known. Claims are decided in `inference/verdict.py`, each among all parts, for one readout and one way of taking away. *Changes*: the
readout changes without the part (changes by unit, `inference/paired.py`; q < 0.05; 95 % interval without 0). *Matters*: a head changes
it beyond what heads of the same norm of z W_O show, their spread included (`inference/peers.py`). *Learnt*, in the last way of `how`: it
stands out further than any head of `n_twins` models with the same weights in random order, on the same windows. *Inside*: a head that
changes the loss in a wave costs more for each token there than elsewhere. Layers taken away from either end, and heads by their effect on
a sample, give curves (of the AUC, where there are labels). How: zero; mean over reference windows at the same place of the window;
resample: another record's; mean-by-phase. All is measured with `n_references` batches of reference windows in turn; effects are means over
them, and intervals hold what another draw of batches changes (`summary.over_draws`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import xarray as xr

from heartlens.analyses.ablation.sums import Removal, strongest_first, sums_of
from heartlens.analysis import Twinned, beside
from heartlens.findings import Findings
from heartlens.options import check
from heartlens.refusal import Refusal, unknown
from heartlens.tally import MOST_RECORDS, Tally, of_units
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

HOWS = ("zero", "mean", "resample", "mean-by-phase")
PARTS = ("heads", "mlp", "layer")


@dataclass(frozen=True)
class Ablation(Twinned):
    """The options of an ablation. `references` and `ranking` are what `prepared` finds; `parts` what is taken away alone."""

    how: Annotated[str, f"what replaces an activation: {', '.join(HOWS)}, or several with commas between"] = "zero,mean,resample"
    n_references: Annotated[int, "batches of windows that means and resamples are taken from in turn, each of other records"] = 4
    n_reference: Annotated[int, "windows of each batch, evenly over its records"] = 16
    cumulative: Annotated[bool, "take layers and heads away cumulatively too, in the last way of --how"] = True
    labels: Annotated[str, "a CSV of record,label: how AUC, sensitivity, specificity, F1 and calibration of records change"] = ""
    classes: Annotated[str, "the label without and the one with what the task head detects"] = "N,A"
    leave_out: Annotated[str, "labels whose records are left out of what needs labels, with commas between"] = ""
    threshold: Annotated[float, "a record is called positive from this mean probability on"] = 0.5
    n_permutations: Annotated[int, "draws of each null"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order; with fewer than 19 nothing is shown to be learnt"] = 19
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 8
    seed: Annotated[int, "seed of twins, intervals and p-values"] = 0
    references: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    ranking: tuple[tuple[int, int], ...] = ()
    parts: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"n_reference": (1, 10_000), "n_references": (1, 100), "threshold": (0, 1)}
        legal |= {"n_permutations": (99, 999_999), "n_twins": (0, 10_000), "seed": (0, 2**31)}
        check(self, legal | {"twin_windows": (2 if "resample" in self.hows else 1, 1_000_000)})  # resample takes another record's
        for how in self.hows:
            if how not in HOWS:
                raise unknown("how", how, HOWS)
        if len(set(self.hows)) < len(self.hows):
            raise Refusal(f"how is {self.how!r}; name each way once")
        if len(set(self.classes.split(","))) != 2:
            raise Refusal(f"classes are {self.classes!r}; give two labels, without and with what the task head detects, such as N,A")

    @property
    def hows(self) -> tuple[str, ...]:
        """The ways of taking away, in order."""
        return tuple(how.strip() for how in self.how.split(","))

    def prepared(self, model: Any, windows: Windows) -> "Ablation":
        """With the activations on batches of windows, and the order in which heads are taken away as found on a sample of all."""
        from heartlens.models.interventions.ablations import reference_batches, reference_of
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        if self.labels:
            if len(windows.records) > MOST_RECORDS:
                raise Refusal(f"labels are of single records, of which at most {MOST_RECORDS} are kept; these are {len(windows.records)}")
            records_of = {unit: sorted(set(map(str, windows.record[windows.unit == unit]))) for unit in windows.units}
            self._labelled(list(records_of), list(records_of.values()))  # refuses before anything is measured
        if "resample" in self.hows and len(windows.units) < 2:
            others = ",".join(how for how in self.hows if how != "resample") or "zero,mean"
            raise Refusal(f"resample takes another record's activation, and there is one record; give more, or --how {others}")
        ready = self
        if any(how != "zero" for how in self.hows):
            batches = reference_batches(windows, self.n_references, self.n_reference, self.seed)
            ready = replace(self, references=tuple(reference_of(subject, batch) for batch in batches))
        if not self.cumulative:
            return ready
        first_batch = next(iter(ready.references), None)
        return replace(ready, ranking=strongest_first(subject, windows.spread(self.n_reference), self.hows[-1], first_batch))

    def for_twins(self) -> "Ablation":
        """The measurement of a twin: heads alone, in the last way of `how`, one batch of references; labels are of records."""
        return replace(self, how=self.hows[-1], cumulative=False, labels="", parts=PARTS[:1], n_references=1)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of every readout with nothing and with each part taken away. Unprepared: `zero` alone.

        Refuses labels for a model that does not answer for a whole window.
        """
        from heartlens.models.subject import LAST, subject_of

        subject = subject_of(model)
        if self.labels and subject.answers != LAST:
            raise Refusal("labels are of records, but this checkpoint has no head that answers for a window; leave --labels out")
        return Tally(sums_of(Removal(self.hows, self.parts, self.references, self.cumulative, self.ranking), subject, windows))

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Effects, intervals, p- and q-values and what is concluded; see the module's first lines."""
        from heartlens.analyses.ablation.summary import summarized

        labelled = self._labelled(list(map(str, tally.sums["record"].values)), of_units(tally.sums)) if self.labels else None
        return summarized(
            tally.sums,
            beside(twins),
            labelled,
            self.classes.split(","),
            threshold=self.threshold,
            seed=self.seed,
            n_permutations=self.n_permutations,
        )

    def _labelled(self, units: list[str], records: list[list[str]]) -> Any:
        from heartlens.analyses.ablation.summary import labels_of

        return labels_of(units, records, Path(self.labels), self.classes.split(","), self.leave_out)

    def trial(self) -> "Trial":
        """How this analysis' rules are put on trial."""
        from heartlens.analyses.ablation.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Which heads matter for which readout, beside what heads of their norm do, and what is left as more and more is taken away."""
        from heartlens.analyses.ablation.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """What the model needs, in words."""
        from heartlens.analyses.ablation.words import say

        return say(summary)
