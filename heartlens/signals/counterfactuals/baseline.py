"""What lies where a wave was: the window's own baseline, its noise and drift, so that the edited signal is no straighter than a recording.

Donors are the stretches of the same window in which no wave is marked (mostly between T and P), MARGIN_S away from the waves beside them.
A gap is filled with a donor of its length, drawn at random and sheared so that its ends meet the tokens on either side of the gap: no
step, and the second differences, which tell a line from a recording, are those of the donor. Of a pulse, which has no level baseline,
donors are what a parabola leaves of them.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Float

from heartlens.axes import KINDS
from heartlens.signals.counterfactuals.spans import Mask, Span, runs
from heartlens.signals.landmarks import NONE
from heartlens.windows import Windows

MARGIN_S = 0.02
LEAST_S = 0.1  # of a donor
LOUDEST = 10.0  # a donor's deviation from its line, over the median donor's: more is an unmarked wave
N_SMOOTHINGS = 10
SMOOTHED = 9  # tokens of the parabolas that leave the noise where a window shows no baseline

Trace = Float[np.ndarray, " _"]  # a window or a part of one


def generator_of(windows: Windows, index: int, seed: int) -> np.random.Generator:
    """The random numbers of one window: of its record, its start and the seed alone, so that two edits of a window draw alike."""
    name = f"{windows.record[index]}|{windows.start_s[index]:.6f}|{seed}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def unrounded(tokens: Float[np.ndarray, "*window time"]) -> Float[np.ndarray, "*window time"]:
    """A trace that rounds to the same tokens and is a little smoother, so that rounding what was moved does not make it rougher.

    A third of the way to the smoothest trace that rounds to them: that of N_SMOOTHINGS binomial means of three, each cut off at half a
    token from the tokens. The smoothest itself would take real noise for rounding; the tokens would leave the noise of rounding in twice.
    The third is where edited stretches of LUDB (leads ii, v1, v5) are about as rough as its baseline (`measures/straightness.py`).
    """
    trace = tokens.astype(float)
    for _ in range(N_SMOOTHINGS):
        padded = np.concatenate([trace[..., :1], trace, trace[..., -1:]], axis=-1)
        trace = np.clip(padded[..., :-2] / 4 + padded[..., 1:-1] / 2 + padded[..., 2:] / 4, tokens - 0.49, tokens + 0.49)
    return tokens + (trace - tokens) / 3


def donors_of(windows: Windows, index: int) -> list[Trace]:
    """The window's stretches of baseline; where it shows none, what smoothing leaves of it outside its largest waves."""
    tokens, spans = unrounded(windows.tokens[index].astype(float)), _at_rest(windows, index)
    if not spans:
        return _residues(tokens, windows.wave[index] != KINDS[windows.kind].waves.index("QRS" if windows.kind == "ecg" else "foot"))
    donors = [tokens[first : last + 1] for first, last in spans]
    if windows.kind == "ppg":
        return [donor - np.polyval(np.polyfit(np.arange(len(donor)), donor, 2), np.arange(len(donor))) for donor in donors]
    spread = np.array([_deviation(donor) for donor in donors])
    return [donor for donor, own in zip(donors, spread, strict=True) if own <= LOUDEST * np.median(spread)]


def at_rest(windows: Windows) -> Bool[np.ndarray, "window time"]:
    """Which tokens lie in a stretch of baseline as donors are: no wave marked, MARGIN_S away from any, LEAST_S long."""
    inside = np.zeros(windows.tokens.shape, bool)
    for index in range(len(windows)):
        for first, last in _at_rest(windows, index):
            inside[index, first : last + 1] = True
    return inside


def noise_for(donors: list[Trace], first: int, last: int, n_time: int, rng: np.random.Generator) -> Trace:
    """A donor for the tokens `first` to `last`, 0 at the token before and at the token after them; at a window's edge it is free there."""
    n_tokens = last - first + 1
    donor = _drawn(donors, n_tokens + 2, rng)
    begin, end = float(donor[0]), float(donor[-1])
    line = np.linspace(end if first == 0 else begin, begin if last == n_time - 1 else end, n_tokens + 2)
    return (donor - line)[1:-1]


def line_over(level: Trace, first: int, last: int) -> Trace:
    """The line from the token before `first` to the token after `last`, at the tokens between; level at a window's edge."""
    known = [place for place in (first - 1, last + 1) if 0 <= place < len(level)]
    return np.interp(np.arange(first, last + 1), known, level[known])


def _at_rest(windows: Windows, index: int) -> list[Span]:
    margin, least = round(MARGIN_S * windows.rate_hz), round(LEAST_S * windows.rate_hz)
    free = (windows.wave[index] == NONE) & (windows.segment[index] != NONE)
    return [(first + margin, last - margin) for first, last in runs(free) if last - first + 1 - 2 * margin >= least]


def _drawn(donors: list[Trace], n_tokens: int, rng: np.random.Generator) -> Trace:
    """So many tokens of a donor, all places alike; where none is long enough, of several, each from 0 to 0, joined there."""
    n_places = np.array([max(len(donor) - n_tokens + 1, 0) for donor in donors])
    if n_places.sum():
        place = int(rng.integers(n_places.sum()))
        donor = int(np.searchsorted(np.cumsum(n_places), place, side="right"))
        start = place - int(n_places[:donor].sum())
        return donors[donor][start : start + n_tokens]
    long = [donor for donor in donors if 2 * len(donor) >= max(map(len, donors))]
    joined = np.zeros(1)
    while len(joined) < n_tokens:
        piece = long[int(rng.integers(len(long)))]
        joined = np.concatenate([joined, (piece - np.linspace(piece[0], piece[-1], len(piece)))[1:]])
    return joined[:n_tokens]


def _deviation(donor: Trace) -> float:
    """The deviation of a donor from its line of least squares."""
    time = np.arange(len(donor)) - (len(donor) - 1) / 2
    return float(np.sqrt(max(donor.var() - (time @ donor) ** 2 / (time @ time) / len(donor), 0.0)))


def _residues(tokens: Trace, quiet: Mask) -> list[Trace]:
    from scipy.signal import savgol_filter

    residue = tokens - savgol_filter(tokens, SMOOTHED, 2)
    spans: list[Span] = [span for span in runs(quiet) if span[1] - span[0] >= SMOOTHED]
    return [residue[first : last + 1] for first, last in spans] or [residue]
