"""What moves a task head's logit in one recording? Its sum of parts, and what counterfactuals of its windows do to it. Point estimates.

*Parts*: with the last LayerNorm's scale as it is, the logit is exactly a sum of terms (`models/interventions/attribution`): mean over the
windows. *Counterfactuals*: one thing of a window is changed, all else kept (`signals/counterfactuals`), and the logit read again: change by
window, and its mean. Controls change something that should mean little. One recording gives no interval over persons and no verdict:
`attribution` and `reliance` test these over recordings.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64, UInt8

from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.files import Files
from heartlens.windows import Windows, concatenate

MOST_WINDOWS = 24
AT_ONCE = 8  # windows whose parts are taken apart together

Edit = tuple[str, Callable[[Windows], Windows], Callable[[Windows], np.ndarray]]  # its name, the edit, the windows it is possible for


def _has(wave: str) -> Callable[[Windows], np.ndarray]:
    return lambda windows: cf.has_wave(windows, wave)


RHYTHM: list[Edit] = [
    ("rhythm made regular", lambda windows: cf.with_rhythm(windows, "regular"), cf.can_be_warped),
    ("rhythm made irregular", lambda windows: cf.with_rhythm(windows, "irregular"), cf.can_be_warped),
    ("control: all beats moved together", cf.with_beats_moved_together, cf.can_be_warped),
]
EDITS: dict[str, list[Edit]] = {
    "ecg": [
        ("P waves removed", cf.without_p, _has("P")),
        ("control: baseline beside P bent", cf.with_bent_baseline, _has("P")),
        *RHYTHM,
        ("T waves flattened", lambda windows: cf.flattened(windows, "T"), _has("T")),
    ],
    "ppg": [*RHYTHM, ("dicrotic notch flattened", lambda windows: cf.flattened(windows, "dicrotic_notch"), _has("dicrotic_notch"))],
}


def moved(
    subject: Any,
    files: Files,
    name: str,
    tokens: UInt8[np.ndarray, "window time"],
    logits: Callable[[np.ndarray], Float64[np.ndarray, " _"]],
) -> xr.Dataset:
    """The parts of the mean logit of windows of `tokens`, and how far each edit moves the logit of windows with known waves.

    `logits` reads tokens. `not_changed` says why no counterfactual could be made, where that is so.
    """
    return xr.merge([_parts(subject, tokens), _changes(subject.kind, files, name, logits)], join="exact", combine_attrs="no_conflicts")


def _parts(subject: Any, tokens: UInt8[np.ndarray, "window time"]) -> xr.Dataset:
    from heartlens.models.interventions.attribution import direct_terms, tokens_of

    chosen = tokens[np.linspace(0, len(tokens) - 1, min(len(tokens), MOST_WINDOWS)).round().astype(int)]
    sums: dict[str, Any] = {}
    for first in range(0, len(chosen), AT_ONCE):
        terms = direct_terms(subject.engine, tokens_of(subject.engine, chosen[first : first + AT_ONCE]), None)
        for term, value in terms.items():
            sums[term] = sums.get(term, 0) + value[:, -1].double().cpu().numpy().sum(axis=0)
    dims = {"direct": ("layer", "head"), "direct_mlp": ("layer",), "direct_attention_bias": ("layer",)}
    named = {term: (dims.get(term, ()), np.asarray(value) / len(chosen)) for term, value in sums.items()}
    return xr.Dataset(named, attrs={"n_attributed": len(chosen)})


def _changes(kind: str, files: Files, name: str, logits: Callable[[np.ndarray], Float64[np.ndarray, " _"]]) -> xr.Dataset:
    try:
        windows = concatenate(list(replace(files, max_windows=MOST_WINDOWS).parts(name))).bare
    except Refusal as refusal:
        names = [edit for edit, _, _ in EDITS[kind]]
        nothing = {"logit_change": (("edit", "changed"), np.full((len(names), 0), np.nan))}
        return xr.Dataset(nothing, coords={"edit": names}, attrs={"not_changed": str(refusal)})
    return logit_changes(windows, logits)


def logit_changes(windows: Windows, logits: Callable[[np.ndarray], Float64[np.ndarray, " _"]]) -> xr.Dataset:
    """How far each of EDITS moves the logit of each window (NaN where it is not possible), and the logits before."""
    names = [edit for edit, _, _ in EDITS[windows.kind]]
    before, change = logits(windows.tokens), np.full((len(names), len(windows)), np.nan)
    for row, (_, edit, able_of) in zip(change, EDITS[windows.kind], strict=True):
        able = able_of(windows)
        if able.any():
            row[able] = logits(edit(windows[able]).tokens) - before[able]
    values = {"logit_change": (("edit", "changed"), change), "logit_before": (("changed",), before)}
    return xr.Dataset(values, coords={"edit": names}, attrs={"not_changed": ""})
