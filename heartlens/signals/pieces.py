"""A long stretch of a recording, divided into pieces that are read one after the other and together give the windows of the whole.

The windows start where they would in the whole: each belongs to the piece in which it starts. A piece reaches MARGIN_S further to both
sides, so that filters and detectors have settled where its windows begin, and it begins at a sample that falls on the grids of the
model's and of the detectors' rate, so that both see the same samples as in the whole.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, lcm

import numpy as np
from jaxtyping import Float, Int

from heartlens.axes import CONTEXT, KINDS
from heartlens.signals.beats import samples_per_step
from heartlens.signals.cut import window_starts
from heartlens.signals.prepare import tokens_per_sample

PIECE_S = 1500.0  # a recording of up to half an hour is one piece; the detectors hold a dozen copies of one at 500 Hz, 100 MB in all
MARGIN_S = 60.0


@dataclass(frozen=True)
class Piece:
    """The samples of a recording that `starts`, its windows' first tokens counted from the piece's first, are cut from.

    `start_s` are the windows' times in the recording; the beats between `own_s`, in seconds from the piece's first sample, are in no
    other piece's `own_s`.
    """

    samples: slice
    starts: Int[np.ndarray, " window"]
    start_s: Float[np.ndarray, " window"]
    own_s: tuple[float, float]


def pieces_of(stretch: slice, rate_hz: float, kind: str, span_s: tuple[float, float], content: str, stride: int, draw: int) -> list[Piece]:
    """The pieces of a stretch of a recording at `rate_hz`; the other arguments, and what is refused, are those of `window_starts`."""
    n_samples, ratio = stretch.stop - stretch.start, tokens_per_sample(rate_hz, kind)
    n_tokens = ceil(n_samples * ratio)
    starts = window_starts(n_tokens, span_s, kind, content, stride, draw)
    edges = np.linspace(0, n_tokens, max(round(n_samples / rate_hz / PIECE_S), 1) + 1).round().astype(int).tolist()
    margin, step = round(MARGIN_S * rate_hz), lcm(ratio.denominator, samples_per_step(rate_hz, kind))
    step = step if step <= margin else ratio.denominator  # odd rates: the detectors' grid then lies a fraction of a sample elsewhere
    pieces = []
    for first_token, end_token in pairwise(edges):
        own = starts[(starts >= first_token) & (starts < end_token)]
        first = max(int(first_token / ratio) - margin, 0) // step * step
        last = min(ceil((end_token + CONTEXT) / ratio) + margin, n_samples)
        begin_token = first * ratio.numerator // ratio.denominator
        pieces.append(
            Piece(
                samples=slice(stretch.start + first, stretch.start + last),
                starts=own - begin_token,
                start_s=own / KINDS[kind].rate_hz + stretch.start / rate_hz,
                own_s=tuple((token - begin_token) / KINDS[kind].rate_hz for token in (first_token, end_token)),
            )
        )
    return pieces
