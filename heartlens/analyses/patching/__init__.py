"""Which heads carry what a recording differs in from its counterfactual? Activation patching, by head, by wave, by level and along paths.

Each window and its counterfactual (no P wave, another rhythm ...) run; the activation of one is put into the run of the other. `denoise`:
clean activations into the counterfactual's run; `noise`: the other way. All numbers are in the readout's unit and count towards the clean
readout: `difference` is clean minus counterfactual, an effect `patched - run` (`noise`: `run - patched`), means over records. `effect`: a
head's output, at all tokens or a wave's; `stream`: the whole stream, by level and wave; `stream_back`: by cycles before the window's last;
`direct`: a head's change to the final norm alone; `path`: from each head into query, key or value of one receiver (path patching, Wang et
al. 2022); `control_effect`: heads under an edit that changes as much elsewhere; `cross_model`: models/interventions/difference.py.
The claim *moves* (the difference) is decided first: interval, sign flips, less the control edit's difference, and among twins. Only where
it is yes an effect is also a part of the difference (`effect_part`: ratio of the means, Fieller's interval) and judged: *carries* for each
head, in the same four ways; the waves, the direct effect and the paths only of heads that carry (`inference/verdict.py`, `summary.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool

from heartlens.analyses.patching.cross import SIDES, base_for, swapped_parts
from heartlens.analyses.patching.effects import AXES_OF as EFFECT_AXES
from heartlens.analyses.patching.effects import PARTS, Arrays, effects, head_named
from heartlens.analyses.patching.pairs import Pairs, able_for, pairs_of
from heartlens.analyses.patching.readouts import readout_of
from heartlens.analysis import Twinned, beside
from heartlens.findings import Findings
from heartlens.options import check
from heartlens.tally import Tally, by_record, examples
from heartlens.windows import Windows

if TYPE_CHECKING:
    import matplotlib.figure

    from heartlens.trial import Trial

AXES_OF: dict[str, tuple[str, ...]] = {  # every sum is kept by record; the other axes of each
    **EFFECT_AXES,
    "control": (),
    "cross_model": ("side", "swapped"),
    "base_logit": ("side",),
    "clean": (),
    "corrupt": (),
    "n_unchanged": (),
    "n_controls": (),
    "n_pairs": (),
    "n_windows": (),
}
OF_BASE = ("cross_model", "base_logit")  # only where there is a base
OF_TWINS = ("effect", "clean", "corrupt", "n_unchanged", "n_pairs", "n_windows")


@dataclass(frozen=True)
class Patching(Twinned):
    """The options of a patching. `is_twin`: only what models are compared by. 19 twins are the fewest with a p-value of 0.05."""

    counterfactual: Annotated[
        Literal[
            "irregular",
            "regular",
            "gradual",
            "early_beat",
            "late_beat",
            "without_p",
            "flattened_T",
            "flattened_notch",
            "with_p_waves",
            "with_f_waves",
            "without_f_waves",
            "noisy_waves",
        ],
        "compared with: itself with other intervals, a beat moved by half its room, no such wave, P or f waves put in, 10 dB noise",
    ] = "irregular"
    readout: Annotated[str, "af_logit, beat_probability, cross_entropy or cross_entropy_WAVE; auto: the checkpoint's first"] = "auto"
    direction: Annotated[
        Literal["denoise", "noise"], "denoise: clean activations into the counterfactual's run; noise: the other way round"
    ] = "denoise"
    receiver: Annotated[str, "also the paths into this head from every head of earlier layers, such as L8H5 (none: no paths)"] = "none"
    base: Annotated[
        str, "the base of a fine-tuned checkpoint, swapped in part by part; auto: what the registry or the model card says; none: none"
    ] = "auto"
    rescale: Annotated[bool, "tokenise edited windows anew, as a recording is; else they keep the scale of the whole window"] = True
    n_lags: Annotated[int, "cycles looked back, the window's last one included; farther ones count as the last"] = 8
    n_permutations: Annotated[int, "draws of the sign flips"] = 9999
    n_twins: Annotated[int, "twins: models with the same weights in random order"] = 19
    twin_windows: Annotated[int, "windows on which model and twins are compared"] = 8
    seed: Annotated[int, "seed of counterfactuals, twins and p-values"] = 0
    is_twin: bool = field(default=False, repr=False)
    n_initial: ClassVar[int] = 0

    def __post_init__(self) -> None:
        legal: dict[str, tuple[float, float]] = {"n_lags": (2, 50), "n_permutations": (99, 999_999), "n_twins": (0, 10_000)}
        check(self, legal | {"twin_windows": (1, 1_000_000), "seed": (0, 2**31)})
        if self.receiver != "none":
            head_named(self.receiver)

    def for_twins(self) -> "Patching":
        """The measurement of a twin, of which only the effects of whole heads are needed."""
        return replace(self, is_twin=True)

    def measure(self, model: Any, windows: Windows) -> Tally:
        """The sums over `windows`, by record, of the effects of patching between each and its counterfactual.

        Windows that lack the landmarks for it are counted, and add nothing else.
        """
        from heartlens.models.subject import subject_of

        subject = subject_of(model)
        able = able_for(windows, self.counterfactual) & readout_of(subject, windows, self.readout).weight.any(axis=1)
        if not able.any():
            return self._tally(subject, windows, {}, able)
        pairs = pairs_of(windows[able], self.counterfactual, self.seed, with_control=not self.is_twin, rescale=self.rescale)
        return self._tally(subject, windows, self._effects(subject, pairs), able, pairs)

    def measure_pairs(self, model: Any, clean: Windows, corrupt: Windows) -> Tally:
        """The same between one's own pairs, window for window. Without a control nothing is judged. Refuses sides that do not fit."""
        from heartlens.models.subject import subject_of

        subject, pairs = subject_of(model), Pairs(clean, corrupt)
        return self._tally(subject, clean, self._effects(subject, pairs), np.ones(len(clean), bool), pairs)

    def _effects(self, subject: Any, pairs: Pairs) -> Arrays:
        return effects(
            subject,
            pairs,
            readout_of(subject, pairs.clean, self.readout),
            direction=self.direction,
            is_twin=self.is_twin,
            n_lags=self.n_lags,
            receiver=None if self.receiver == "none" else head_named(self.receiver),
            base=None if self.is_twin else base_for(subject, self.base),
        )

    def _tally(
        self, subject: Any, windows: Windows, effect: Arrays, able: Bool[np.ndarray, " window"], pairs: Pairs | None = None
    ) -> Tally:
        """The sums under their axes, 0 for windows that were not patched."""
        from heartlens.models.residual import level_names

        places: dict[str, Any] = {
            "record": windows.records,
            "layer": np.arange(subject.sizes.n_layers),
            "head": np.arange(subject.sizes.n_heads),
            "place": ["all"] if self.is_twin else [*windows.waves, "no wave", "all"],
            "level": level_names(subject.sizes.n_layers),
            "lag": np.arange(self.n_lags),
            "part": list(PARTS),
            "side": list(SIDES),
            "swapped": swapped_parts(subject),
        }
        base = None if self.is_twin else base_for(subject, self.base)
        names = OF_TWINS if self.is_twin else tuple(name for name in AXES_OF if base is not None or name not in OF_BASE)
        values = {name: np.zeros((len(windows), *(len(places[axis]) for axis in AXES_OF[name]))) for name in names}
        for name, of_able in (effect | {"n_pairs": np.ones(int(able.sum()))}).items():
            values[name][able] = of_able
        values["n_windows"][:] = 1
        attrs = {"kind": windows.kind, "readout": readout_of(subject, windows, self.readout).name}
        attrs |= {"counterfactual": self.counterfactual, "direction": self.direction, "receiver": self.receiver}
        attrs |= {} if base is None else {"base_fingerprint": base.origin.fingerprint}
        sums = {name: (("record", *AXES_OF[name]), by_record(values[name], windows.record)) for name in names}
        used = {"record"}.union(*(AXES_OF[name] for name in names))
        named = xr.Dataset(sums, coords={axis: place for axis, place in places.items() if axis in used}, attrs=attrs)
        if pairs is None:
            return Tally(named)
        return Tally(named, examples(pairs.clean, token_of_counterfactual=(("time",), pairs.corrupt.tokens)))

    def summarize(self, tally: Tally, twins: Mapping[str, Tally]) -> xr.Dataset:
        """Differences and effects, with intervals, and what is concluded; see the module's first lines."""
        from heartlens.analyses.patching.summary import summarized

        other = beside(twins)
        on_twin_windows = (tally if other.model is None else other.model).sums
        summary = summarized(
            tally.sums, on_twin_windows, {name: twin.sums for name, twin in other.twins.items()}, self.seed, self.n_permutations
        )
        return xr.merge([summary, tally.sample], join="exact", combine_attrs="override")

    def trial(self) -> "Trial":
        """How this analysis' rules are put on trial."""
        from heartlens.analyses.patching.trial import trial

        return trial()

    def plot(self, summary: xr.Dataset) -> "matplotlib.figure.Figure":
        """Effects by head, by wave and by level, and one pair."""
        from heartlens.analyses.patching.figure import draw

        return draw(summary)

    def findings(self, summary: xr.Dataset) -> Findings:
        """Which heads carry the difference, in words."""
        from heartlens.analyses.patching.words import say

        return say(summary)
