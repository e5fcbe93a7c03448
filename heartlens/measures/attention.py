"""What attention falls on: sums of attention by wave, by lag in cycles and by phase of the key. Arrays in, arrays out.

Everything is linear in the pattern, so the *even share* (attention spread evenly over the tokens that causality allows) is the same code
run on the even pattern, and `lift = share / even share` is 1 for uniform attention by construction.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from heartlens.axes import KINDS
from heartlens.windows import Windows

ROUNDING = 1e-9  # of positions, in cycles
Pattern = Float[np.ndarray, "#window head query key"]  # one window for all: the even pattern


@dataclass(frozen=True)
class Labels:
    """What is known of the tokens of some windows, as 0/1 matrices.

    `asked`: which tokens belong to each kind of asking token (all, each segment, last). `rotated`: which lie in each wave after the
    labels were rotated by each fraction of a cycle (rotation 0: as they are). `phased`: which lie in each phase bin. `cycle`: see
    `Windows`.
    """

    asked: Float[np.ndarray, "window asked time"]
    rotated: Float[np.ndarray, "window rotation wave time"]
    phased: Float[np.ndarray, "window phase time"]
    cycle: Int[np.ndarray, "window time"]


def asked_kinds(kind: str) -> tuple[str, ...]:
    """The kinds of asking token of a kind of signal.

    >>> asked_kinds("ecg")
    ('all', 'P', 'QRS', 'T', 'baseline', 'last')
    """
    return ("all", *KINDS[kind].segments, "last")


def labels(windows: Windows, *, n_rotations: int, n_phases: int, n_sink: int = 0) -> Labels:
    """The labels of `windows`; the first `n_sink` tokens ask nothing (they have no key but the sink)."""
    n_waves, n_segments = len(windows.waves), len(KINDS[windows.kind].segments)
    known = ~np.isnan(windows.position)
    known[:, :n_sink] = False
    segment = windows.segment[:, None] == np.arange(n_segments)[:, None]
    last = np.arange(known.shape[1]) == known.shape[1] - 1
    asked = np.concatenate([np.ones_like(known)[:, None], segment, np.broadcast_to(last, known.shape)[:, None]], axis=1) & known[:, None]
    waves = np.stack([rotated(windows, turn / n_rotations) for turn in range(n_rotations)], axis=1)
    masks = waves[:, :, None] == np.arange(n_waves)[:, None]
    phase = np.where(known, np.floor(windows.phase * n_phases), -1)
    phased = phase[:, None] == np.arange(n_phases)[:, None]
    return Labels(asked.astype(np.float32), masks.astype(np.float32), phased.astype(np.float32), windows.cycle)


def rotated(windows: Windows, turn: float) -> Int[np.ndarray, "window time"]:
    """Each token's wave after all labels moved by `turn` of a cycle: the wave that lies `turn` earlier in the same cycle."""
    if turn == 0:
        return windows.wave
    return np.stack([_rotated(wave, position, turn) for wave, position in zip(windows.wave, windows.position, strict=True)])


def _rotated(wave: Int[np.ndarray, " time"], position: Float[np.ndarray, " time"], turn: float) -> Int[np.ndarray, " time"]:
    known = np.flatnonzero(~np.isnan(position))
    moved = np.full_like(wave, -1)
    if not len(known):
        return moved
    at = position[known]
    source = np.floor(at) + (at - turn + ROUNDING) % 1.0
    source += np.where(source > at[-1] + ROUNDING, -1.0, np.where(source < at[0], 1.0, 0.0))  # cut off by the window: the neighbour's
    nearest = np.round(np.interp(source, at, np.arange(len(at)))).astype(int)
    nearest -= np.floor(at[nearest]) > np.floor(source)  # the last token of a cycle may be nearer to the next one's first
    moved[known] = wave[known[nearest]]
    return moved


def even_pattern(n_tokens: int, is_causal: bool = True) -> Float[np.ndarray, "1 1 query key"]:
    """Attention spread evenly over the keys each token may attend to."""
    allowed = np.tril(np.ones((n_tokens, n_tokens))) if is_causal else np.ones((n_tokens, n_tokens))
    return (allowed / allowed.sum(axis=1, keepdims=True))[None, None]


def without_sink(pattern: Pattern, n_sink: int) -> Pattern:
    """The pattern with nothing on the first `n_sink` keys, each row scaled to sum to 1 again (0 where nothing is left)."""
    rest = pattern.copy()
    rest[..., :n_sink] = 0
    total = rest.sum(axis=-1, keepdims=True)
    return np.divide(rest, total, out=rest, where=total > 0)


def received(pattern: Pattern, known: Labels) -> Float[np.ndarray, "window head asked key"]:
    """The attention each key receives, summed over the asking tokens of each kind."""
    return np.matmul(known.asked[:, None].astype(pattern.dtype), pattern)


def on_waves(keys: Float[np.ndarray, "window head asked key"], known: Labels) -> Float[np.ndarray, "window asked wave rotation head"]:
    """The attention on each wave, for each rotation of the labels."""
    flat = known.rotated.reshape(len(known.rotated), -1, known.rotated.shape[-1])
    found = np.matmul(keys, flat[:, None].astype(keys.dtype).swapaxes(-1, -2))
    found = found.reshape(*keys.shape[:3], *known.rotated.shape[1:3])
    return found.transpose(0, 2, 4, 3, 1)


def by_phase(keys: Float[np.ndarray, "window head asked key"], known: Labels) -> Float[np.ndarray, "window asked phase head"]:
    """The attention on each phase of the cycle."""
    return np.matmul(keys, known.phased[:, None].astype(keys.dtype).swapaxes(-1, -2)).transpose(0, 2, 3, 1)


def by_lag(pattern: Pattern, known: Labels, n_lags: int) -> Float[np.ndarray, "window asked wave lag head"]:
    """The attention on each wave of the asking token's own cycle (lag 0) and of each of the cycles before it."""
    return np.stack([_by_lag(pattern[index], known, index, n_lags) for index in range(len(pattern))])


def _by_lag(
    pattern: Float[np.ndarray, "head query key"], known: Labels, index: int, n_lags: int
) -> Float[np.ndarray, "asked wave lag head"]:
    waves, cycle, asked = known.rotated[index, 0], known.cycle[index], known.asked[index]
    n_cycles = max(int(cycle.max()) + 1, 1)
    keys = (waves[:, None] * (cycle == np.arange(n_cycles)[:, None])).reshape(-1, len(cycle))
    on_cycle = (pattern.reshape(-1, len(cycle)) @ keys.T.astype(pattern.dtype)).reshape(*pattern.shape[:2], len(waves), n_cycles)
    wanted = cycle[:, None] - np.arange(n_lags)
    at_lag = np.take_along_axis(on_cycle, np.clip(wanted, 0, None)[None, :, None], axis=-1) * (wanted >= 0)[None, :, None]
    return np.einsum("gq,hqwl->gwlh", asked.astype(pattern.dtype), at_lag, optimize=True)


def rank_auc(
    value: Float[np.ndarray, "window head asked key"],
    inside: Bool[np.ndarray, "window wave key"],
    usable: Bool[np.ndarray, "window asked key"],
) -> Float[np.ndarray, "window asked wave head"]:
    """The chance that a random key inside the wave has a larger value than a random key outside, ties counting half; NaN without both.

    Only `usable` keys are compared. (Mann-Whitney U over n m, from mid-ranks.)
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.where(usable[:, None], value, -np.inf), axis=-1) - (~usable).sum(axis=-1)[:, None, :, None]
    member = (inside[:, None] & usable[:, :, None]).astype(float)
    n_inside = member.sum(axis=-1)
    n_outside = usable.sum(axis=-1)[:, :, None] - n_inside
    rank_sum = np.einsum("bhgk,bgwk->bgwh", ranks, member, optimize=True)
    pairs = (n_inside * n_outside)[..., None]
    above = rank_sum - (n_inside * (n_inside + 1) / 2)[..., None]
    return np.divide(above, pairs, out=np.full(above.shape, np.nan), where=pairs > 0)
