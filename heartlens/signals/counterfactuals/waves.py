"""Waves taken out, halved or inverted: in their place comes the window's own baseline (`baseline.py`), joined without a step.

A wave is taken out with MARGIN_S on either side, as far as no other wave lies there: marks tend to lie inside the wave. The dicrotic notch
is taken out together with the diastolic peak that makes it a notch. With `strength` s the wave, less the line beneath it, is multiplied by
1 - s: 1 is none of it, 0.5 half, 2 the wave inverted; so much of the baseline's noise is added that its variance stays. `share` is the
part of a window's waves that is changed (drawn, nested: what a smaller share changes a larger one does too). `beat` changes those of one
beat alone, counted from 0 of those that a window shows whole: P waves between the QRS complex before it and its own, all others between
its own (of a pulse: foot to systolic peak) and the next.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from heartlens.axes import CONTEXT, KINDS
from heartlens.refusal import Refusal, unknown
from heartlens.signals.counterfactuals.baseline import Trace, donors_of, generator_of, line_over, noise_for, unrounded
from heartlens.signals.counterfactuals.complexes import beats_of, beside_core
from heartlens.signals.counterfactuals.dose import Graded
from heartlens.signals.counterfactuals.kept import Able, refuse_unable
from heartlens.signals.counterfactuals.scale import Strength, edited, of_each, strength_note
from heartlens.signals.counterfactuals.spans import Labels, Mask, Span, runs
from heartlens.signals.landmarks import NONE
from heartlens.windows import Windows

MARGIN_S = 0.02
INVERTED = 2.0  # the strength that turns a wave upside down
MOST_BENT = 8.0  # the largest strength of the bent baseline: much of a small bend is lost in rounding
FLAT: dict[str, dict[str, tuple[str, ...]]] = {  # what can be taken out, and its waves
    "ecg": {"P": ("P",), "T": ("T",)},
    "ppg": {"dicrotic_notch": ("dicrotic_notch", "diastolic_peak")},
}


def without_p(windows: Windows, strength: Strength = 1.0, share: float = 1.0, seed: int = 0, *, rescale: bool = True) -> Windows:
    """The windows with every P wave replaced by the window's own baseline. Refuses pulses, and windows without a P wave."""
    return flattened(windows, "P", strength, share, seed, rescale=rescale)


def flattened(
    windows: Windows,
    wave: str,
    strength: Strength = 1.0,
    share: float = 1.0,
    seed: int = 0,
    *,
    beat: int | None = None,
    rescale: bool = True,
) -> Windows:
    """The windows with a wave replaced by baseline: P or T, or a pulse's `dicrotic_notch`. Refuses others and their absence.

    `strength` (0 to 2), `share` (0 to 1) and `beat`: the module. A wave that is wholly gone loses its labels.
    """
    gone, of_window = _indices(windows, wave), of_each(strength, windows, INVERTED)
    if not 0 <= share <= 1:
        raise Refusal(f"share is {share:g}; legal: 0 (no wave) to 1 (every wave of a window)")
    if beat is not None and share != 1:
        raise Refusal(f"share is {share:g} and beat is {beat}; give one of them: a share of all beats, or one beat")
    refuse_unable(windows, has_wave(windows, wave), f"no {_plain(wave)} marked")
    level, support, left = windows.tokens.astype(float), np.zeros(windows.tokens.shape, bool), np.zeros(windows.tokens.shape, bool)
    for index, own in enumerate(of_window):
        rng, spans = generator_of(windows, index, seed), taken_out(windows.wave[index], gone, windows.rate_hz)
        turn = rng.permutation(len(spans))
        chosen = [span for span, place in zip(spans, turn, strict=True) if place < round(share * len(spans))]
        chosen = chosen if beat is None else _of_beat(windows, index, wave, beat, chosen)
        support[index] = _fill(level[index], chosen, donors_of(windows, index), float(own), rng)
        left[index] = support[index] & np.isin(windows.wave[index], gone) & (own == 1)
    segments = KINDS[windows.kind].segments
    after = segments.index("baseline" if windows.kind == "ecg" else "downslope")
    labels = {
        "wave": np.where(left, NONE, windows.wave).astype(np.int8),
        "segment": np.where(left & (windows.segment != NONE), after, windows.segment).astype(np.int8),
    }
    part = "" if share == 1 else f", {100 * share:.0f} % of them"
    note = f"{_named(wave, beat)} replaced by baseline{part}{strength_note(strength)}"
    return edited(windows, level, support, note, rescale=rescale, **labels)


def with_flat_baseline(windows: Windows, wave: str = "P", strength: Strength = 1.0, seed: int = 0, *, rescale: bool = True) -> Windows:
    """The control of how `flattened` fills: for each such wave as many tokens of baseline nearby replaced by other baseline.

    Every wave stays. Of the stretches without a wave between that wave and its neighbours of the same kind the longest is taken, its middle
    as long as what `flattened` would replace, or all of it if it is shorter. It changes far less than `flattened`; `with_bent_baseline`
    changes as much.
    """
    gone, of_window = _indices(windows, wave), of_each(strength, windows)
    refuse_unable(windows, has_wave(windows, wave), f"no {_plain(wave)} marked")
    level, support = windows.tokens.astype(float), np.zeros(windows.tokens.shape, bool)
    for index, own in enumerate(of_window):
        spans = _elsewhere(windows.wave[index], gone, windows.rate_hz)
        support[index] = _fill(level[index], spans, donors_of(windows, index), float(own), generator_of(windows, index, seed))
    note = f"as many tokens of baseline as of {_plain(wave)} waves replaced by other baseline{strength_note(strength)}"
    return edited(windows, level, support, note, rescale=rescale)


def with_bent_baseline(
    windows: Windows,
    wave: str = "P",
    strength: Strength = 1.0,
    *,
    beat: int | None = None,
    turned: bool = False,
    rescale: bool = True,
) -> Windows:
    """The control of `flattened` that changes as much elsewhere: baseline near each wave bent as far as taking out the waves bends them.

    The longest stretch without a wave beside each wave is moved by half a sine; all of a window's have the same height, such that
    `strength` times what `flattened` adds or takes (levels, summed over tokens, with its sign) is spread over them. A strength of 0 to
    MOST_BENT; `matched` finds the one of equal dose after rounding. `beat` bends it beside the wave of one beat alone,
    `turned` bends it the other way (up, where without the waves levels would be lower). Every wave stays.
    """
    gone, of_window = _indices(windows, wave), of_each(strength, windows, MOST_BENT)
    refuse_unable(windows, has_wave(windows, wave), f"no {_plain(wave)} marked")
    level, support, smoother = windows.tokens.astype(float), np.zeros(windows.tokens.shape, bool), unrounded(windows.tokens.astype(float))
    for index, own in enumerate(of_window):
        tokens, labels = windows.tokens[index].astype(float), windows.wave[index]
        spans = taken_out(labels, gone, windows.rate_hz)
        chosen = spans if beat is None else _of_beat(windows, index, wave, beat, spans)
        taken = [line_over(tokens, *span) - tokens[span[0] : span[1] + 1] for span in chosen]
        shape = np.zeros(CONTEXT)
        for first, last in _elsewhere(labels, gone, windows.rate_hz, chosen, whole=True):
            shape[first : last + 1] = np.sin(np.linspace(0, np.pi, last - first + 3)[1:-1])
        whole = np.concatenate(taken)
        way = -np.sign(whole.sum()) if turned else np.sign(whole.sum())
        support[index] = (shape > 0) & (own > 0)
        bent = smoother[index] + own * way * np.abs(whole).sum() / max(shape.sum(), 1.0) * shape
        level[index] = np.where(support[index], bent, tokens)
    note = f"baseline beside {_named(wave, beat)} bent{' the other way' if turned else ''}{strength_note(strength)}"
    return edited(windows, level, support, note, rescale=rescale)


def bent_baselines(wave: str, beat: int | None = None) -> list[Graded]:
    """The ways to bend baseline as a sham of `flattened`, for `first_matched`: beside the wave of `beat`, beside all, then the other way.

    Where baseline that is bent leaves the window's scale, the window is scaled anew and all its tokens change: doses between cannot be
    reached. Spread over the baseline beside all waves, or bent the other way, it stays on the scale.
    """
    places = [None] if beat is None else [beat, None]
    ways = [(place, turned) for turned in (False, True) for place in places]
    return [partial(_bent, wave=wave, beat=place, turned=turned) for place, turned in ways]


def _bent(windows: Windows, strength: Strength, *, wave: str, beat: int | None, turned: bool) -> Windows:
    return with_bent_baseline(windows, wave, strength, beat=beat, turned=turned)


def has_wave(windows: Windows, wave: str) -> Able:
    """Which windows have the wave anywhere."""
    return np.asarray(np.isin(windows.wave, _indices(windows, wave)).any(axis=1))


def waves_of_beats(windows: Windows) -> list[tuple[str, int, int, int]]:
    """The waves of one window that `flattened` can change alone: name, beat, first and last token. Empty where no beats are known."""
    beats, labels = beats_of(windows, 0), windows.wave[0]
    if beats is None:
        return []
    named = []
    for wave, names in FLAT[windows.kind].items():
        spans = runs(labels == windows.waves.index(names[0]))
        for beat in range(len(beats)):
            low, high = beside_core(windows, 0, beats, beat, wave)
            named += [(wave, beat, first, last) for first, last in spans if low <= first and last <= high]
    return named


def taken_out(labels: Labels, gone: tuple[int, ...], rate_hz: float) -> list[Span]:
    """What is replaced when these waves go: their stretches, each with its margin; stretches that then touch are one."""
    support = np.isin(labels, gone)
    for first, last in _joined(labels, gone):
        support[first : last + 1] = True
    free = labels == NONE
    for _ in range(round(MARGIN_S * rate_hz)):
        near = support.copy()
        near[1:] |= support[:-1]
        near[:-1] |= support[1:]
        support |= near & free
    return runs(support)


def _fill(level: Trace, spans: list[Span], donors: list[Trace], strength: float, rng: np.random.Generator) -> Mask:
    """Replace the spans of `level` in place, and tell which tokens they are."""
    support = np.zeros(len(level), bool)
    lines = [line_over(level, *span) for span in spans]
    for (first, last), line in zip(spans, lines, strict=True):
        noise = noise_for(donors, first, last, len(level), rng)
        inside, left = slice(first, last + 1), 1 - strength
        level[inside] = line + left * (level[inside] - line) + np.sqrt(max(1 - left**2, 0.0)) * noise
        support[inside] = True
    return support


def _joined(labels: Labels, gone: tuple[int, ...]) -> Iterator[Span]:
    """From the end of a notch to the beginning of the diastolic peak that follows it, nothing else between."""
    spans = runs(np.isin(labels, gone))
    for (_, last), (first, _) in pairwise(spans):
        if labels[last] != labels[first] and (labels[last + 1 : first] == NONE).all() and labels[last] == gone[0]:
            yield last + 1, first - 1


def _elsewhere(
    labels: Labels, gone: tuple[int, ...], rate_hz: float, chosen: list[Span] | None = None, *, whole: bool = False
) -> list[Span]:
    """For each (chosen) stretch that would go, the longest one of baseline beside it, or of this the middle, as long; no token twice."""
    spans, beside = taken_out(labels, gone, rate_hz), []
    free = labels == NONE
    for first, last in spans:
        free[first : last + 1] = False
    edges = [0, *(edge for span in spans for edge in span), CONTEXT - 1]
    for place, (first, last) in enumerate(spans):
        if chosen is not None and (first, last) not in chosen:
            continue
        near = np.zeros_like(free)
        near[edges[2 * place] : edges[2 * place + 3] + 1] = True
        stretches = runs(near & free)
        if stretches:
            longest = max(stretches, key=lambda span: span[1] - span[0])
            beside.append(longest if whole else _middle(*longest, last - first + 1))
            free[beside[-1][0] : beside[-1][1] + 1] = False
    return beside


def _middle(first: int, last: int, n_tokens: int) -> Span:
    spare = max(last - first + 1 - n_tokens, 0)
    return first + spare // 2, last - (spare - spare // 2)


def _of_beat(windows: Windows, index: int, wave: str, beat: int, spans: list[Span]) -> list[Span]:
    """Those of the spans that are the beat's. Refuses a beat that the window does not show whole, and one without this wave."""
    record, beats = windows.record[index], beats_of(windows, index)
    if beats is None:
        raise Refusal(f"{record}: fewer than two beats are marked whole one after the other, so none has a number; legal: all beats")
    if not 0 <= beat < len(beats):
        raise Refusal(f"{record}: beat {beat} is not shown whole; legal: 0 to {len(beats) - 1}")
    own = _between(spans, *beside_core(windows, index, beats, beat, wave))
    if not own:
        others = [each for each in range(len(beats)) if _between(spans, *beside_core(windows, index, beats, each, wave))]
        raise Refusal(f"{record}: beat {beat} has no {_plain(wave)} marked; legal: {', '.join(map(str, others)) or 'none'}")
    return own


def _between(spans: list[Span], low: int, high: int) -> list[Span]:
    return [(first, last) for first, last in spans if first <= high and last >= low]


def _named(wave: str, beat: int | None) -> str:
    return f"{_plain(wave)} waves" if beat is None else f"{_plain(wave)} wave of beat {beat}"


def _plain(wave: str) -> str:
    return wave.replace("_", " ")


def _indices(windows: Windows, wave: str) -> tuple[int, ...]:
    if wave not in FLAT[windows.kind]:
        raise unknown(f"wave of the {windows.kind} that can be taken out", wave, FLAT[windows.kind])
    if windows.waves != KINDS[windows.kind].waves:
        raise Refusal(f"the windows tell {', '.join(windows.waves)} apart; give them with {', '.join(KINDS[windows.kind].waves)}")
    return tuple(windows.waves.index(name) for name in FLAT[windows.kind][wave])
