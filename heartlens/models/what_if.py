"""What if: one window changed step by step, or the model without some parts: the task head's answer, beside a sham of the same size.

An edit is a text `NAME:VALUE`, so that a command line, a page and a program name it alike. Of the signal: `beat:3:-0.2` moves the fourth
beat 0.2 s earlier, `P:0.5` makes all P waves half as high (0 takes them out, -1 inverts them), `P@3:0.5` that of the fourth beat alone,
`T` and `dicrotic_notch` likewise (beats count from 0, those that the window shows whole), `noise:10` adds noise at 10 dB, `f_waves:1` puts
f waves in and `no_f_waves:1` takes them out, `add_P:1` puts P waves in, `rhythm:regular:0.5` moves every beat half of the way. Of the
model: `ablate:L8H5`, `ablate:MLP3`, `ablate:L3` (the zero ablation).
Edits act in their order. A sham changes as many token values (`counterfactuals.dose_of`), of something that should mean little: baseline
beside the wave instead of the wave, all inner beats moved together instead of a rhythm, white noise instead of waves; for parts of the
model, as many other heads of the same layers, or as many other MLPs (or layers): the median of N_DRAWS draws, and no sham where fewer
others are left. Windows are known by the content of their recording, whatever its name.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from heartlens.axes import KINDS
from heartlens.models.subject import LAST
from heartlens.parts import Part, part_named
from heartlens.refusal import Refusal
from heartlens.signals import counterfactuals as cf
from heartlens.signals.counterfactuals.intervals import RHYTHMS
from heartlens.windows import Windows

N_DRAWS = 5
MOST_EDITS = 32
SYNTAX = (
    "beat:3:-0.2, P:0.5, P@3:0, T:0, dicrotic_notch:0, noise:10, f_waves:1, no_f_waves:1, add_P:1, rhythm:regular, rhythm:irregular:0.5, "
    "ablate:L8H5, ablate:MLP3, ablate:L3"
)


@dataclass(frozen=True)
class Edit:
    """An edit, as its text: a change of the signal (`on`), or parts that are ablated.

    `shams` of a change of the signal are graded by a strength up to `most`; the first that changes as much is taken.
    """

    text: str
    on: Callable[[Windows], Windows] | None = None
    shams: tuple[Callable[[Windows, Any], Windows], ...] = ()
    most: float = 1.0
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The task head's logit of one window and model: as they are, with all edits, and with the shams of all of them.

    `windows` are edited. `alone`: the logit with each edit alone; `sham_alone` with its sham alone (NaN where there is none, `why_no_sham`
    tells why; of parts of the model it also tells why there is none of all of them together); `dose` and `sham_dose` are the summed
    changes of token values (0 for parts of the model).
    """

    before: float
    after: float
    windows: Windows
    sham: float
    alone: Float[np.ndarray, " edit"]
    sham_alone: Float[np.ndarray, " edit"]
    dose: Float[np.ndarray, " edit"]
    sham_dose: Float[np.ndarray, " edit"]
    why_no_sham: tuple[str, ...]


def edit_named(text: str) -> Edit:
    """The edit that a text names. Refuses what is none."""
    name, _, value = text.strip().partition(":")
    if name == "ablate":
        return Edit(text.strip(), parts=(_part(value),))
    if name == "rhythm":
        rhythm, _, part = value.partition(":")
        if rhythm not in RHYTHMS:
            raise Refusal(f"{text!r}: {rhythm!r} is no rhythm; legal: {', '.join(RHYTHMS)}")
        strength = _number(text, part, 0, 1) if part else 1.0
        return Edit(text.strip(), lambda windows: cf.with_rhythm(windows, rhythm, strength=strength), *_TOGETHER)
    if name == "beat":
        beat, _, by = value.partition(":")
        if not beat.isdecimal():
            raise Refusal(f"{text!r} names no beat; give its number (from 0) and the seconds, as beat:3:-0.2")
        by_s = _number(text, by, -10, 10)
        return Edit(text.strip(), lambda windows: cf.with_beat_moved(windows, by_s, int(beat)), *_TOGETHER)
    wave, at, number = name.partition("@")
    if wave in {wave for waves in cf.FLAT.values() for wave in waves}:
        if at and not number.isdecimal():
            raise Refusal(f"{text!r} names no beat; give its number (from 0) behind the @, as {wave}@3:0, or none for all beats: {wave}:0")
        height, one_beat = _number(text, value, -1, 1), int(number) if at else None
        return Edit(
            text.strip(),
            lambda windows: cf.flattened(windows, wave, 1 - height, beat=one_beat),
            tuple(cf.bent_baselines(wave, one_beat)),
            cf.MOST_BENT,
        )
    if name == "noise":
        snr_db = _number(text, value, -20, 60)
        return Edit(text.strip(), lambda windows: cf.with_noise(windows, snr_db), *_NOISE)
    simple: dict[str, tuple[Callable[[Windows, float], Windows], float]] = {
        "f_waves": (cf.with_f_waves, 5.0),
        "no_f_waves": (cf.without_f_waves, 1.0),
        "add_P": (cf.with_p_waves, 5.0),
    }
    if name in simple:
        change, most = simple[name]
        strength = _number(text, value or "1", 0, most)
        return Edit(text.strip(), lambda windows: change(windows, strength), *_NOISE)
    raise Refusal(f"{text!r} is no edit; legal: {SYNTAX}")


_TOGETHER = ((lambda windows, strength: cf.with_beats_moved_together(windows, strength),), 1.0)
_NOISE = ((lambda windows, strength: cf.with_noise(windows, 10.0, seed=1, strength=strength),), 10.0)


def what_if(subject: Any, windows: Windows, edits: Sequence[str], *, shams: bool = True) -> Answer:
    """The answers to one window with `edits`; without `shams` those are NaN, and nothing is answered for each edit alone.

    Refuses a model without a task head of one output, several windows, an unknown edit, and one that this window does not allow.
    """
    if subject.answers != LAST:
        raise Refusal(
            f"{subject.origin.checkpoint} has no task head that gives one answer for a window; give one that has, say ecg-af or ppg-af"
        )
    edited, parts = edited_window(windows, edits)
    _refuse_parts(subject, parts)
    named, original = [edit_named(text) for text in edits], _by_content(windows)
    before = logit(subject, original)
    after = before if not named else logit(subject, edited, parts)
    nothing = np.full(len(named), np.nan)
    if not shams:
        return Answer(before, after, edited, np.nan, nothing, nothing, nothing, nothing, ("",) * len(named))
    alone, sham_alone, dose, sham_dose = (nothing.copy() for _ in range(4))
    why, sham_windows, can_sham = [""] * len(named), original, True
    for place, edit in enumerate(named):
        own = _edited(original, edit)
        alone[place], dose[place] = logit(subject, own, edit.parts), cf.dose_of(original, own)[0]
        try:
            sham = original if edit.parts else _sham(original, edit, dose[place])
            sham_alone[place], sham_dose[place] = _without_others(subject, sham, edit.parts), cf.dose_of(original, sham)[0]
            sham_windows = sham_windows if edit.parts else _sham(sham_windows, edit, dose[place])
        except Refusal as refusal:
            why[place], can_sham = _plain(str(refusal), original), False
    together = np.nan
    if named and can_sham:
        try:
            together = _without_others(subject, sham_windows, parts)
        except Refusal as refusal:
            why = [str(refusal) if edit.parts else "" for edit in named]
    return Answer(before, after, edited, together, alone, sham_alone, dose, sham_dose, tuple(why))


def edited_window(windows: Windows, edits: Sequence[str]) -> tuple[Windows, list[Part]]:
    """One window with the edits of the signal, and the parts of the model that the other edits take away, each once.

    Refuses several windows, an unknown edit, and one that this window does not allow.
    """
    if len(windows) != 1:
        raise Refusal(f"{len(windows)} windows are given; edits are of one")
    if len(edits) > MOST_EDITS:
        raise Refusal(f"{len(edits)} edits are given; at most {MOST_EDITS} are legal")
    edited, parts = _by_content(windows), list[Part]()
    for edit in map(edit_named, edits):
        edited = _edited(edited, edit)
        parts += edit.parts
    return replace(edited, record=windows.record), list(dict.fromkeys(parts))


def _by_content(windows: Windows) -> Windows:
    """The windows known by the content of their recording, so that what an edit draws does not hang on its name."""
    return replace(windows, record=np.where(windows.content == "", windows.record, windows.content))


def logit(subject: Any, windows: Windows, parts: Sequence[Part] = ()) -> float:
    """The task head's logit at the last token of one window, without the `parts` (zero ablation)."""
    import torch

    from heartlens.models.interventions.ablations import values_of
    from heartlens.models.interventions.cumulative import without

    values, (heads, mlps, layers) = values_of(subject, "zero", None, windows), _by_kind(parts)
    with torch.inference_mode():
        outputs = without(subject.engine, subject.tokens(windows.tokens), values, heads, layers, last_only=True, mlps=mlps)
    return float(outputs[0, -1, 0])


def _without_others(subject: Any, windows: Windows, parts: Sequence[Part]) -> float:
    """The median logit without as many other parts, drawn; of no parts that of the whole model. Refuses where fewer others are left."""
    variants = drawn_parts(subject, parts) if parts else [[]]
    return float(np.median([logit(subject, windows, drawn) for drawn in variants]))


def _by_kind(parts: Sequence[Part]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """The heads (layer and head), the layers of the MLPs, and the whole layers."""
    heads = [(part.layer, part.head) for part in parts if part.head is not None]
    mlps = [part.layer for part in parts if part.is_mlp]
    return heads, mlps, [part.layer for part in parts if part.head is None and not part.is_mlp]


def all_ablations(subject: Any, windows: Windows) -> tuple[Float[np.ndarray, "layer head"], Float[np.ndarray, " layer"]]:
    """By how much the logit changes without each head, and without each MLP (zero ablation), one at a time."""
    from heartlens.models.interventions.ablations import intact_readings, single_readings, values_of

    top = single_readings(subject, windows, values_of(subject, "zero", None, windows), ("heads", "mlp"))
    whole = intact_readings(subject, windows)[0][0, 0]
    return top["heads"][0, 0] - whole, top["mlp"][0, 0] - whole


def drawn_parts(subject: Any, parts: Sequence[Part]) -> list[list[Part]]:
    """As many other parts of the same kind, N_DRAWS times, the same for the same parts; other heads are of the same layers.

    Refuses where fewer others are left than are taken away.
    """
    sizes, drawn = subject.sizes, []
    heads, mlps, layers = _by_kind(parts)
    for layer in dict.fromkeys(layer for layer, _ in heads):
        _refuse_too_many([head for of_layer, head in heads if of_layer == layer], sizes.n_heads, f"heads of layer {layer + 1}")
    _refuse_too_many(mlps, sizes.n_layers, "MLPs")
    _refuse_too_many(layers, sizes.n_layers, "layers")
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([draw, 17])
        others: list[Part] = []
        for layer in dict.fromkeys(layer for layer, _ in heads):
            own = [head for of_layer, head in heads if of_layer == layer]
            others += [Part(layer, head) for head in _others(rng, sizes.n_heads, own)]
        others += [Part(layer, is_mlp=True) for layer in _others(rng, sizes.n_layers, mlps)]
        others += [Part(layer) for layer in _others(rng, sizes.n_layers, layers)]
        drawn.append(others)
    return drawn


def _refuse_too_many(own: Sequence[int], n_parts: int, what: str) -> None:
    if 2 * len(own) > n_parts:
        raise Refusal(f"{len(own)} of {n_parts} {what} are taken away, so as many others are not left for a sham")


def _others(rng: np.random.Generator, n_parts: int, own: Sequence[int]) -> list[int]:
    others = [part for part in range(n_parts) if part not in own]
    return [int(part) for part in rng.permutation(others)[: len(own)]]


def _edited(windows: Windows, edit: Edit) -> Windows:
    try:
        return edit.on(windows) if edit.on is not None else windows
    except Refusal as refusal:
        raise Refusal(f"{edit.text} is not possible in this window: {_plain(str(refusal), windows)}") from refusal


def _sham(windows: Windows, edit: Edit, dose: float) -> Windows:
    return cf.first_matched(windows, edit.shams, dose, edit.most)


def _plain(reason: str, windows: Windows) -> str:
    """A reason without the parts that are about many windows."""
    return reason.replace(f"{windows.record[0]}: ", "").split(" in 1 of 1 windows")[0]


def _part(text: str) -> Part:
    try:
        return part_named(text)
    except ArgumentTypeError as error:
        raise Refusal(f"ablate:{text}: {error}") from error


def _refuse_parts(subject: Any, parts: Sequence[Part]) -> None:
    sizes = subject.sizes
    wrong = [str(part) for part in parts if part.layer >= sizes.n_layers or (part.head or 0) >= sizes.n_heads]
    if wrong:
        raise Refusal(f"{', '.join(wrong)} is not in this model; it has layers 1 to {sizes.n_layers}, heads 1 to {sizes.n_heads}")


def _number(text: str, value: str, least: float, most: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise Refusal(f"{text!r}: {value!r} is not legal; give a number from {least:g} to {most:g}")
    return number


def waves_of(kind: str) -> tuple[str, ...]:
    """The waves of a kind of signal whose height can be changed.

    >>> waves_of("ecg")
    ('P', 'T')
    """
    return tuple(cf.FLAT[KINDS[kind].name])
