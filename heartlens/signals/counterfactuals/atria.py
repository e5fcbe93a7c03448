"""What the atria do, the other way round: P waves put in where there are none, f waves taken out of fibrillation or put into sinus rhythm.

P wave: the record's own average (of the windows that `p_waves_of` is given, else of the beats of the same window that show one), aligned at
the onset of the QRS complex; else a standard one, the middle of the ranges of the project's simulated P waves (`simulate/ecg.py`).
f waves are estimated by average beat subtraction (Slocum et al. 1985): what is left of a window after the mean beat, from QRS onset to
the end of T, is taken from every beat, bridged over the QRS complexes, within BAND_HZ. f waves put in are those of the simulation
(after Stridh & Sornmo 2001), F_HEIGHT of the QRS complex high.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from heartlens.axes import CONTEXT, LEVELS
from heartlens.refusal import Refusal
from heartlens.signals.counterfactuals.baseline import generator_of, line_over, unrounded
from heartlens.signals.counterfactuals.kept import Able, refuse_unable
from heartlens.signals.counterfactuals.scale import Strength, edited, of_each, strength_note
from heartlens.signals.counterfactuals.spans import Span, runs
from heartlens.signals.landmarks import NONE
from heartlens.signals.simulate.ecg import RANGES, fibrillatory_wave
from heartlens.windows import Windows

P, QRS, T = 0, 1, 2
BAND_HZ = (4.0, 9.0)  # of f waves
F_HEIGHT = 0.04  # of the QRS complex
MOST = 5.0  # the largest strength of waves that are put in: f waves of a fifth of the QRS complex
LEAST_BEATS = 3  # for a mean beat
NO_BEATS = f"fewer than {LEAST_BEATS} QRS complexes marked"

Trace = Float[np.ndarray, " _"]  # a window or a part of one


@dataclass(frozen=True)
class PWave:
    """A P wave above the line beneath it, in the recording's unit, and how many tokens before the onset of the QRS complex it begins."""

    height: Trace
    before: int


def p_waves_of(windows: Windows) -> dict[str, PWave]:
    """The average P wave of each record of which these windows show any."""
    waves: dict[str, list[PWave]] = {}
    for index in range(len(windows)):
        waves.setdefault(str(windows.record[index]), []).extend(_shown(windows, index))
    return {record: _mean(shown) for record, shown in waves.items() if shown}


def with_p_waves(
    windows: Windows, strength: Strength = 1.0, templates: Mapping[str, PWave] | None = None, *, rescale: bool = True
) -> Windows:
    """The windows with a P wave before every QRS complex that has none, where no T wave or other wave lies in its place.

    `strength`: its height, 0 to MOST, of the average one. `templates`: of each record, as `p_waves_of` gives them; records that it lacks
    get their windows' own, else a standard one. Refuses pulses, and windows in which no P wave can be put (`can_have_p`).
    """
    of_window = of_each(strength, windows, MOST)
    refuse_unable(windows, can_have_p(windows), "no room for a P wave")
    level, support, wave, segment = (
        windows.tokens.astype(float),
        np.zeros(windows.tokens.shape, bool),
        windows.wave.copy(),
        windows.segment.copy(),
    )
    for index, own in enumerate(of_window):
        template, smoother = _template(windows, index, templates or {}), unrounded(level[index])
        for first, last in _places(windows, index, template):
            inside = slice(first, last + 1)
            scale = LEVELS / (windows.high[index] - windows.low[index])
            if own > 0:
                level[index, inside] = smoother[inside] + own * scale * template.height
                support[index, inside], wave[index, inside], segment[index, inside] = (
                    True,
                    P,
                    np.where(segment[index, inside] == NONE, NONE, P),
                )
    return edited(windows, level, support, f"P waves put in{strength_note(strength)}", rescale=rescale, wave=wave, segment=segment)


def can_have_p(windows: Windows) -> Able:
    """Which windows have a QRS complex without a P wave, and room for one before it. Refuses pulses."""
    _refuse_pulses(windows)
    return np.array([bool(_places(windows, index, _template(windows, index, {}))) for index in range(len(windows))], bool)


def without_f_waves(windows: Windows, strength: Strength = 1.0, *, rescale: bool = True) -> Windows:
    """The windows less `strength` (0 to 1) times their f waves. Refuses pulses, and windows without LEAST_BEATS QRS complexes.

    Meant for fibrillation: of sinus rhythm it takes P waves, whose frequencies are the same, for f waves.
    """
    of_window = of_each(strength, windows)
    refuse_unable(windows, has_beats(windows), NO_BEATS)
    level = windows.tokens.astype(float)
    for index, own in enumerate(of_window):
        if own > 0:
            level[index] -= own * _f_waves(windows, index)
    return edited(windows, level, np.ones(level.shape, bool), f"f waves taken out{strength_note(strength)}", rescale=rescale)


def with_f_waves(windows: Windows, strength: Strength = 1.0, seed: int = 0, *, rescale: bool = True) -> Windows:
    """The windows with simulated f waves on all tokens, drawn from `seed`, record and start; `strength` (0 to MOST) times F_HEIGHT high.

    P waves stay (`without_p` takes them out). Refuses pulses, and windows without LEAST_BEATS QRS complexes.
    """
    of_window = of_each(strength, windows, MOST)
    refuse_unable(windows, has_beats(windows), NO_BEATS)
    level = windows.tokens.astype(float)
    for index, own in enumerate(of_window):
        if own > 0:
            tokens = windows.tokens[index].astype(float)
            height = np.median([np.ptp(tokens[first : last + 1]) for first, last in runs(windows.wave[index] == QRS)])
            added = fibrillatory_wave(generator_of(windows, index, seed), np.arange(CONTEXT) / windows.rate_hz)
            level[index] = unrounded(tokens) + own * F_HEIGHT * height * added
    return edited(windows, level, np.ones(level.shape, bool), f"f waves put in{strength_note(strength)}", rescale=rescale)


def has_beats(windows: Windows) -> Able:
    """Which windows have LEAST_BEATS QRS complexes marked. Refuses pulses."""
    _refuse_pulses(windows)
    return np.array([len(runs(labels == QRS)) >= LEAST_BEATS for labels in windows.wave], bool)


def _refuse_pulses(windows: Windows) -> None:
    if windows.kind != "ecg":
        raise Refusal(f"P waves and f waves are of the ecg; these are {windows.kind} windows")


def _shown(windows: Windows, index: int) -> list[PWave]:
    """The P waves of a window, each with the QRS complex after it within 0.4 s."""
    tokens, labels = unrounded(windows.tokens[index].astype(float)), windows.wave[index]
    onsets, shown = np.array([first for first, _ in runs(labels == QRS)], int), []
    for first, last in runs(labels == P):
        after = onsets[(onsets > last) & (onsets - first < 0.4 * windows.rate_hz)]
        if first > 0 and len(after):
            height = (tokens[first : last + 1] - line_over(tokens, first, last)) / LEVELS * (windows.high[index] - windows.low[index])
            shown.append(PWave(height, int(after[0] - first)))
    return shown


def _mean(shown: list[PWave]) -> PWave:
    """The mean P wave, aligned at the QRS complex, from the earliest begin to the latest end; 0 where one does not reach."""
    before = max(wave.before for wave in shown)
    after = min(wave.before - len(wave.height) for wave in shown)
    total = np.zeros(before - after)
    for wave in shown:
        start = before - wave.before
        total[start : start + len(wave.height)] += wave.height / len(shown)
    kept = np.abs(total) >= 0.05 * np.abs(total).max() if total.any() else np.ones(len(total), bool)
    first, last = int(np.argmax(kept)), len(total) - int(np.argmax(kept[::-1]))
    return PWave(total[first:last], before - first)


def _template(windows: Windows, index: int, templates: Mapping[str, PWave]) -> PWave:
    record = str(windows.record[index])
    if record in templates:
        return templates[record]
    shown = _shown(windows, index)
    return _mean(shown) if shown else _standard(windows, index)


def _standard(windows: Windows, index: int) -> PWave:
    """A Gaussian in the middle of the simulation's ranges, its height a part of the median QRS complex's; upright."""
    tokens, (height, centre, rise, fall) = windows.tokens[index].astype(float), (np.mean(edges) for edges in RANGES["P"])
    complexes = [np.ptp(tokens[first : last + 1]) for first, last in runs(windows.wave[index] == QRS)]
    unit = float(np.median(complexes)) / LEVELS * (windows.high[index] - windows.low[index]) if complexes else 0.0
    q_onset_s = np.mean(RANGES["Q"][1]) - 2 * np.mean(RANGES["Q"][2])
    away_s = np.arange(-round(2.5 * rise * windows.rate_hz), round(2.5 * fall * windows.rate_hz) + 1) / windows.rate_hz
    shape = np.exp(-0.5 * (away_s / np.where(away_s < 0, rise, fall)) ** 2)
    return PWave(height * unit * shape, round((q_onset_s - centre - away_s[0]) * windows.rate_hz))


def _places(windows: Windows, index: int, template: PWave) -> list[Span]:
    """Where in a window a P wave has room: before each complex that has none, no wave there, and baseline before it."""
    labels, places, n_tokens = windows.wave[index], [], len(template.height)
    end_before = 0
    for onset, offset in runs(labels == QRS):
        first = onset - template.before
        has_own = (labels[max(end_before, 0) : onset] == P).any()
        if (
            not has_own
            and first > max(end_before, 0)
            and first + n_tokens <= onset
            and (labels[first - 1 : first + n_tokens] == NONE).all()
        ):
            places.append((first, first + n_tokens - 1))
        end_before = offset + 1
    return places


def _f_waves(windows: Windows, index: int) -> Trace:
    """The f waves of one window, in levels."""
    from scipy.signal import butter, sosfiltfilt

    tokens, labels = unrounded(windows.tokens[index].astype(float)), windows.wave[index]
    complexes = runs(labels == QRS)
    onsets = np.array([first for first, _ in complexes])
    ends = [last - onsets[onsets < last].max() for _, last in runs(labels == T) if (onsets < last).any()]
    length = int(min(np.median(ends) if ends else 0.4 * windows.rate_hz, np.diff(onsets).min() - 1)) + 1
    beats = [tokens[first : first + length] - _level_before(tokens, first) for first, _ in complexes if first + length <= len(tokens)]
    residue = tokens - np.mean(tokens)
    if beats:
        mean_beat = np.mean(beats, axis=0)
        for first, _ in complexes:
            inside = slice(first, min(first + length, len(tokens)))
            residue[inside] -= mean_beat[: inside.stop - first]
    for first, last in complexes:
        near = max(first - 2, 0), min(last + 2, len(tokens) - 1)
        residue[near[0] : near[1] + 1] = line_over(residue, *near)
    sections = butter(2, BAND_HZ, "bandpass", fs=windows.rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, residue, padtype="even", padlen=50))


def _level_before(tokens: Trace, onset: int) -> float:
    """The mean of 0.15 s, about one f wave, before a complex."""
    return float(tokens[max(onset - 15, 0) : onset].mean()) if onset else float(tokens[0])
