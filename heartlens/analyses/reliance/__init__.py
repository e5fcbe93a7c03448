"""What does an AF detector rely on: the irregular rhythm, the absence of P waves, or both together? And which heads carry each part?

Every window is made anew with its P waves present or removed and its intervals regular or irregular (`signals/counterfactuals`), mean rate
and all else kept, tokenised anew, and read by the task head at the last token. `effect` of a factor: the difference of logits that it makes
(formulas: `arms`), mean over a record's windows, then over records; also of probabilities, and of quantiles among the records' logits as
they are, which a logit's ceiling distorts less. Sham and rival change as many tokens, under the same conditions. `slope`: effect per unit
of dose over n_doses strengths, `sum_r effect dose / sum_r dose^2`; the dose is the summed change of tokens, or of their embeddings.
Decided by `inference/verdict.py`: the logit *relies* on a factor if the effect's interval over persons excludes 0, q < 0.05 (Benjamini-
Hochberg over the factors), the effect less that of its sham (`excess`) has an interval on the same side, and twins on the same windows do
not reach it. `head_effect`: the part of it that arises when one head alone mixes what it mixes in the other arm
(`models/interventions/head_swap`); a head *carries* it only where the logit is shown to rely on the factor. Heads' parts need not add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr

from heartlens.analyses.reliance import arms as design
from heartlens.analysis import Twinned, beside
from heartlens.findings import Findings
from heartlens.options import check
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.tally import Tally, by_record, examples
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

Arrays = dict[str, np.ndarray]
LOGIT_EDGES = np.arange(-15.0, 15.01, 0.25)  # of the histograms that quantiles are read off; what lies beyond is in the outer bins
N_BINS = len(LOGIT_EDGES) + 1

AXES_OF = {  # every sum is kept by record; the other axes of each
    "logit": ("p_wave", "rhythm"),
    "probability": ("p_wave", "rhythm"),
    "n_logits": ("p_wave", "rhythm", "logit_bin"),
    "n_arms": ("p_wave", "rhythm"),
    "dose_token": ("factor", "change"),
    "dose_embedding": ("factor", "change"),
    "n_doses": ("factor", "change"),
    "token_effect": ("factor", "change"),
    "token_square": ("factor", "change"),
    "embedding_effect": ("factor", "change"),
    "embedding_square": ("factor", "change"),
    "head_effect": ("factor", "layer", "head"),
    "head_sham": ("factor", "layer", "head"),
    "head_whole": ("factor",),
    "n_swapped": ("factor",),
    "n_left_out": (),
    "n_windows": (),
}


@dataclass(frozen=True)
class Reliance(Twinned):
    """The options of a reliance. `swapped`, no option, is what `prepared` finds: the windows whose heads are swapped (None: all)."""

    swap_windows: Annotated[int, "windows whose heads are swapped between arms, evenly over records (0: none)"] = 32
    n_doses: Annotated[int, "strengths at which every edit and sham is measured, evenly up to the whole one (1: that alone)"] = 2
    rescale: Annotated[bool, "tokenise edited windows anew, as a recording is; else they keep the scale of the whole window"] = True
    n_permutations: Annotated[int, "draws of the sign flips"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 19
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 12
    seed: Annotated[int, "seed of the irregular intervals, twins and p-values"] = 0
    swapped: frozenset[str] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"swap_windows": (0, 1_000_000), "n_doses": (1, 20), "n_permutations": (99, 999_999)}
        check(self, legal | {"n_twins": (0, 10_000), "twin_windows": (1, 1_000_000), "seed": (0, 2**31)})

    def prepared(self, model: Any, windows: Windows) -> "Reliance":
        """The same, knowing whose heads are swapped."""
        able = windows[cf.can_be_warped(windows)]
        return replace(self, swapped=frozenset(map(str, able.spread(self.swap_windows).identity)))

    def for_twins(self) -> "Reliance":
        """The measurement of a twin, whose heads and doses are of no interest."""
        return replace(self, swap_windows=0, n_doses=1)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of the logit in every arm, by dose, and of what each head carries of the effects."""
        from heartlens.models.interventions.head_swap import refuse_without_last_logit
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        refuse_without_last_logit(subject)
        able, shows_p = cf.can_be_warped(windows), design.shows_p(windows)
        sums = self._nothing(subject, windows) | {"n_left_out": (~able).astype(float), "n_windows": np.ones(len(windows))}
        drawn, coords = [], {"p_wave": list(design.P_WAVES), "rhythm": list(design.RHYTHMS)}
        for chosen, which in ((able & shows_p, design.WITH_P), (able & ~shows_p, design.WITHOUT_P)):
            if chosen.any():
                arms = design.arms_of(windows[chosen], self.seed, rescale=self.rescale)
                made = {arm: arms.of(arm) for arm in which}
                self._measure_arms(subject, arms, made, np.flatnonzero(chosen), sums)
                swapped = np.array([self.swapped is None or name in self.swapped for name in map(str, windows[chosen].identity)])
                if swapped.any():
                    self._swap(subject, {arm: each[swapped] for arm, each in made.items()}, np.flatnonzero(chosen)[swapped], sums)
                grid = design.as_grid({arm: each.tokens for arm, each in made.items()})  # 0 in the arms that a window does not have
                drawn.append(examples(windows[chosen], token=(("p_wave", "rhythm", "time"), grid)).assign_coords(coords))
        of_records = {name: by_record(value, windows.record) for name, value in sums.items()}
        return Tally(
            self._named(of_records, windows), min(drawn, key=lambda example: str(example["identity"].values[0]), default=xr.Dataset())
        )

    def _measure_arms(self, subject: Any, arms: design.Arms, made: dict[design.Arm, Windows], place: np.ndarray, sums: Arrays) -> None:
        """Write the model's logits for the arms, and for graded doses, at the windows' places."""
        logits = _logits(subject, list(made.values()))
        values = dict(zip(made, logits, strict=True))
        sums["logit"][place] = design.as_grid(values)
        sums["probability"][place] = design.as_grid({arm: 1 / (1 + np.exp(-np.clip(logit, -500, 500))) for arm, logit in values.items()})
        sums["n_logits"][place] = design.as_grid({arm: np.eye(N_BINS)[np.digitize(logit, LOGIT_EDGES)] for arm, logit in values.items()})
        sums["n_arms"][place] = design.as_grid({arm: np.ones(len(place)) for arm in made})
        self._grade(subject, arms, made, values, place, sums)

    def _grade(
        self,
        subject: Any,
        arms: design.Arms,
        made: dict[design.Arm, Windows],
        logits: dict[design.Arm, np.ndarray],
        place: np.ndarray,
        sums: Arrays,
    ) -> None:
        """Add doses and effects of every edit, sham and rival at each strength, a mean over the states of the other factor."""
        from heartlens.models.interventions.dose import embedding_dose

        kind, with_p = arms.windows.kind, ("removed", "regular") in made
        edits = design.graded(kind, with_p=with_p)
        n_states = 2 if with_p else 1
        for strength in np.arange(1, self.n_doses + 1) / self.n_doses:
            tops, values = [made[top] for _, _, _, top in edits], [logits[top] for _, _, _, top in edits]
            if strength < 1:
                tops = [arms.of(top, *((strength, 1.0) if factor == "p_wave" else (1.0, strength))) for factor, _, _, top in edits]
                values = _logits(subject, tops)
            for (factor, of, base, _), after, logit in zip(edits, tops, values, strict=True):
                at, before, effect = (
                    (place, design.FACTORS[kind].index(factor), design.KINDS_OF.index(of)),
                    made[base],
                    logit - logits[base],
                )
                doses = {"token": cf.dose_of(before, after), "embedding": embedding_dose(subject.engine, before.tokens, after.tokens)}
                for name, dose in doses.items():
                    sums[f"{name}_effect"][at] += dose * effect / n_states
                    sums[f"{name}_square"][at] += dose**2 / n_states
                    sums[f"dose_{name}"][at] += dose / n_states * (strength == 1)
                sums["n_doses"][at] = 1.0

    def _swap(self, subject: Any, made: dict[design.Arm, Windows], place: np.ndarray, sums: Arrays) -> None:
        """Add what each head carries from one arm into another."""
        from heartlens.models.interventions.head_swap import carried_by_head

        kind = next(iter(made.values())).kind
        factors = design.FACTORS[kind]
        for (*source, p_wave, rhythm), weights in design.swaps(kind, with_p=("removed", "regular") in made).items():
            carried = carried_by_head(subject.engine, made[p_wave, rhythm].tokens, made[source[0], source[1]].tokens)
            for (of, factor), part in weights.items():
                sums[f"head_{of}"][place, factors.index(factor)] += part * carried
                sums["n_swapped"][place, factors.index(factor)] = 1.0
        for index, factor in enumerate(factors):
            weight = design.contrast(kind, factor, "effect").values
            sums["head_whole"][place, index] = (sums["logit"][place] * weight).sum(axis=(1, 2)) * sums["n_swapped"][place, index]

    def _nothing(self, subject: Any, windows: Windows) -> Arrays:
        sizes = {"p_wave": len(design.P_WAVES), "rhythm": len(design.RHYTHMS), "factor": len(design.FACTORS[windows.kind])}
        sizes |= {"layer": subject.sizes.n_layers, "head": subject.sizes.n_heads, "change": len(design.KINDS_OF), "logit_bin": N_BINS}
        return {name: np.zeros((len(windows), *(sizes[axis] for axis in axes))) for name, axes in AXES_OF.items()}

    def _named(self, sums: Arrays, windows: Windows) -> xr.Dataset:
        """The sums under their axes."""
        n_layers, n_heads = sums["head_effect"].shape[2:]
        places = {
            "record": windows.records,
            "p_wave": list(design.P_WAVES),
            "rhythm": list(design.RHYTHMS),
            "factor": list(design.FACTORS[windows.kind]),
            "change": list(design.KINDS_OF),
            "logit_bin": np.arange(N_BINS),
            "layer": np.arange(n_layers),
            "head": np.arange(n_heads),
        }
        named = {name: (("record", *AXES_OF[name]), sums[name]) for name in AXES_OF}
        return xr.Dataset(named, coords=places, attrs={"kind": windows.kind})

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Logits by arm, effects, what heads carry; with intervals, p- and q-values, shams, rivals, twins and verdicts."""
        from heartlens.analyses.reliance.summary import summarized

        if not float(tally.sums["n_arms"].sum()):
            raise Refusal(f"no window's rhythm can be changed: {cf.UNABLE}; give recordings with landmarks, or --landmarks detected")
        summary = summarized(tally.sums, beside(twins), self.seed, self.n_permutations)
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """How this analysis' rules are put on trial."""
        from heartlens.analyses.reliance.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """The logit in the 2 x 2, the effects beside their controls, what each head carries, and one window in its arms."""
        from heartlens.analyses.reliance.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """How much of the logit is rhythm, how much P wave, in words."""
        from heartlens.analyses.reliance.words import say

        return say(summary)


def _logits(subject: Any, arms: list[Windows]) -> list[np.ndarray]:
    """The logits of the windows of each arm, run as one batch."""
    from heartlens.models.interventions.head_swap import last_logits

    return np.split(last_logits(subject.engine, np.concatenate([each.tokens for each in arms])), len(arms))
