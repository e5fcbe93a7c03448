"""What attention falls on: sums of attention by wave, by lag in cycles and by phase of the key. Arrays in, arrays out.

Everything is linear in the attention that keys receive from groups of asking tokens (`Columns`), so the *even share* (attention spread
evenly over the tokens that causality allows) is the same code run on the columns of even attention, and `lift = share / even share` is 1
for uniform attention by construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32

from heartlens.axes import KINDS
from heartlens.windows import Windows

ROUNDING = 1e-9  # of positions, in cycles
N_DIGITS = 5  # of a key's lift: beyond these float32 rounds, which must not decide the ranks of keys
Rows = Float[np.ndarray, "*rows key"]


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
    is_asking = ~np.isnan(windows.position)
    is_asking[:, :n_sink] = False
    segment = windows.segment[:, None] == np.arange(n_segments)[:, None]
    last = np.arange(is_asking.shape[1]) == is_asking.shape[1] - 1
    asked = (
        np.concatenate([np.ones_like(is_asking)[:, None], segment, np.broadcast_to(last, is_asking.shape)[:, None]], axis=1)
        & is_asking[:, None]
    )
    waves = rotated(windows, [turn / n_rotations for turn in range(n_rotations)])
    masks = waves[:, :, None] == np.arange(n_waves)[:, None]
    phase = np.where(is_asking, np.floor(windows.phase * n_phases), -1)
    phased = phase[:, None] == np.arange(n_phases)[:, None]
    return Labels(asked.astype(np.float32), masks.astype(np.float32), phased.astype(np.float32), windows.cycle)


def rotated(windows: Windows, turns: Sequence[float]) -> Int[np.ndarray, "window turn time"]:
    """Each token's wave after all labels are moved by each turn (a part of a cycle): the wave found that much earlier in the same cycle."""
    pairs = zip(windows.wave, windows.position, strict=True)
    return np.stack([_rotated(wave, position, np.array(turns, float)) for wave, position in pairs])


def _rotated(
    wave: Int[np.ndarray, " time"], position: Float[np.ndarray, " time"], turns: Float[np.ndarray, " turn"]
) -> Int[np.ndarray, "turn time"]:
    placed = np.flatnonzero(~np.isnan(position))
    moved = np.full((len(turns), len(wave)), -1, wave.dtype)
    moved[turns == 0] = wave
    if not len(placed):
        return moved
    at = position[placed]
    source = np.floor(at) + (at - turns[:, None] + ROUNDING) % 1.0
    source += np.where(
        source > at[-1] + ROUNDING, -1.0, np.where(source < at[0], 1.0, 0.0)
    )  # beyond the window's ends: taken from the neighbouring cycle
    nearest = np.round(np.interp(source, at, np.arange(len(at)))).astype(int)
    nearest -= np.floor(at[nearest]) > np.floor(source)  # the last token of a cycle may be nearer to the next one's first
    turned = np.flatnonzero(turns)
    moved[turned[:, None], placed] = wave[placed[nearest[turned]]]
    return moved


def without_sink(pattern: Rows, n_sink: int) -> Rows:
    """Rows with nothing on the first `n_sink` keys, each scaled to sum to 1 again (0 where nothing is left)."""
    rest = pattern.copy()
    rest[..., :n_sink] = 0
    total = rest.sum(axis=-1, keepdims=True)
    return np.divide(rest, total, out=rest, where=total > 0)


@dataclass(frozen=True)
class Groups:
    """The asking tokens in disjoint groups, segment by segment (the first: none) and within it cycle by cycle; -1: asks nothing."""

    of_query: Int32[np.ndarray, "window query"]
    n_segments: int
    n_cycles: int

    @property
    def together(self) -> "Groups":
        """All tokens that ask anything as one group."""
        return Groups(np.minimum(self.of_query, 0), 1, 1)

    @property
    def segment_of(self) -> Int32[np.ndarray, " group"]:
        """The segment of each group."""
        return np.repeat(np.arange(self.n_segments, dtype=np.int32), self.n_cycles)


def groups_of(windows: Windows, n_sink: int = 0) -> Groups:
    """The groups of the asking tokens of `windows`; the first `n_sink` tokens ask nothing, nor do those of unknown position."""
    n_segments, cycle = len(KINDS[windows.kind].segments) + 1, windows.cycle.astype(np.int32)
    n_cycles = max(int(cycle.max(initial=0)) + 1, 1)
    group = (windows.segment.astype(np.int32) + 1) * n_cycles + cycle
    group[np.isnan(windows.position)] = -1
    group[:, :n_sink] = -1
    return Groups(group, n_segments, n_cycles)


@dataclass(frozen=True)
class Runs:
    """The keys on waves, in runs of one wave and cycle each: where a run begins, and the key after its last (equal where there is none).

    `lag_of`: for a token that asks in a cycle, whether a run lies on a wave of the cycle `lag` before it.
    """

    edges: Int32[np.ndarray, "window run 2"]
    lag_of: Float[np.ndarray, "window cycle run wave lag"]

    def summed(self, columns: Float[np.ndarray, "*rows key"], window: int) -> Float[np.ndarray, "*rows run"]:
        """The columns' sums over each run of a window."""
        total = np.concatenate([np.zeros((*columns.shape[:-1], 1)), np.cumsum(columns, axis=-1, dtype=np.float64)], axis=-1)
        return total[..., self.edges[window, :, 1]] - total[..., self.edges[window, :, 0]]


def runs_of(labels: Labels, groups: Groups, n_lags: int) -> Runs:
    """The runs of keys of the windows."""
    n_waves, n_time = labels.rotated.shape[2:]
    wave = np.where(labels.rotated[:, 0].any(axis=1), labels.rotated[:, 0].argmax(axis=1), -1)
    is_start = (np.diff(wave, prepend=-2) != 0) | (np.diff(labels.cycle, prepend=-2) != 0)
    is_counted = is_start & (wave >= 0) & (labels.cycle >= 0)
    n_runs = int(is_counted.sum(axis=1).max())
    edges = np.zeros((len(wave), n_runs, 2), np.int32)
    lag_of = np.zeros((len(wave), groups.n_cycles, n_runs, n_waves, n_lags))  # float64, so that the number of cycles rounds nothing
    for window in range(len(wave)):
        every_edge, starts = np.append(np.flatnonzero(is_start[window]), n_time), np.flatnonzero(is_counted[window])
        edges[window, : len(starts), 0] = starts
        edges[window, : len(starts), 1] = every_edge[np.searchsorted(every_edge, starts, side="right")]
        for run, start in enumerate(starts):
            cycle, lags = labels.cycle[window, start], np.arange(n_lags)
            lags = lags[lags < groups.n_cycles - cycle]
            lag_of[window, cycle + lags, run, wave[window, start], lags] = 1
    return Runs(edges, lag_of)


@dataclass(frozen=True)
class Columns:
    """What the asking tokens of a segment give each key, those of a group each run of keys, and what the last token gives each key."""

    by_segment: Float[np.ndarray, "window head segment key"]
    on_runs: Float[np.ndarray, "window head group run"]
    last: Float[np.ndarray, "window head key"]


def even_columns(groups: Groups, runs: Runs, is_causal: bool, n_sink: int = 0) -> Columns:
    """The columns of attention spread evenly over the keys each token may attend to, without the first `n_sink`."""
    n_time = groups.of_query.shape[1]
    n_keys = np.maximum(np.arange(n_time) + 1 - n_sink, 1) if is_causal else np.full(n_time, n_time - n_sink)
    weights = (groups.of_query[:, None] == np.arange(len(groups.segment_of))[:, None]) / n_keys
    by_group = np.flip(np.cumsum(np.flip(weights, axis=-1), axis=-1), axis=-1) if is_causal else weights.sum(axis=-1, keepdims=True)
    by_group = np.broadcast_to(by_group, weights.shape).copy()
    by_group[..., :n_sink] = 0
    by_segment = by_group.reshape(len(by_group), groups.n_segments, groups.n_cycles, n_time).sum(axis=2)
    last = np.where(np.arange(n_time) >= n_sink, 1 / (n_time - n_sink), 0.0)
    on_runs = np.stack([runs.summed(columns, window) for window, columns in enumerate(by_group)])
    return Columns(by_segment[:, None], on_runs[:, None], np.broadcast_to(last, (len(by_group), 1, n_time)))


def received(columns: Columns, groups: Groups) -> Float[np.ndarray, "window head asked key"]:
    """The attention each key receives, summed over the asking tokens of each kind."""
    by_segment = columns.by_segment
    asks_last = groups.of_query[:, -1] >= 0
    last = columns.last * asks_last[:, None, None]
    return np.concatenate([by_segment.sum(axis=2, keepdims=True), by_segment[:, :, 1:], last[:, :, None]], axis=2)


def on_waves(keys: Float[np.ndarray, "window head asked key"], labels: Labels) -> Float[np.ndarray, "window asked wave head"]:
    """The attention on each wave, the labels as they are."""
    return np.matmul(keys, labels.rotated[:, 0, None].astype(keys.dtype).swapaxes(-1, -2)).transpose(0, 2, 3, 1)


def on_rotated_waves(keys: Float[np.ndarray, "window head key"], labels: Labels) -> Float[np.ndarray, "window wave rotation head"]:
    """The attention on each wave, for each rotation of the labels."""
    flat = labels.rotated.reshape(len(labels.rotated), -1, labels.rotated.shape[-1])
    sums = np.matmul(flat.astype(keys.dtype), keys.swapaxes(-1, -2))
    return sums.reshape(len(keys), *labels.rotated.shape[1:3], keys.shape[1]).swapaxes(1, 2)


def by_phase(keys: Float[np.ndarray, "window head asked key"], labels: Labels) -> Float[np.ndarray, "window asked phase head"]:
    """The attention on each phase of the cycle."""
    return np.matmul(keys, labels.phased[:, None].astype(keys.dtype).swapaxes(-1, -2)).transpose(0, 2, 3, 1)


def by_lag(columns: Columns, groups: Groups, runs: Runs) -> Float[np.ndarray, "window asked wave lag head"]:
    """The attention on each wave of the asking token's own cycle (lag 0) and of each of the cycles before it."""
    n_windows, n_heads = columns.on_runs.shape[:2]
    n_waves, n_lags = runs.lag_of.shape[-2:]
    sums = np.zeros((n_windows, groups.n_segments + 1, n_waves * n_lags, n_heads))
    for window, (on_runs, lag_of) in enumerate(zip(columns.on_runs, runs.lag_of, strict=True)):
        by_segment = on_runs.reshape(n_heads, groups.n_segments, -1) @ lag_of.reshape(-1, n_waves * n_lags)
        sums[window, 0] = by_segment.sum(axis=1).T
        sums[window, 1:-1] = by_segment[:, 1:].transpose(1, 2, 0)
        if groups.of_query[window, -1] >= 0:
            of_last = lag_of[groups.of_query[window, -1] % groups.n_cycles].reshape(-1, n_waves * n_lags)
            sums[window, -1] = (runs.summed(columns.last[window], window) @ of_last).T
    return sums.reshape(n_windows, -1, n_waves, n_lags, n_heads)


def rank_auc(
    value: Float[np.ndarray, "window head key"],
    inside: Bool[np.ndarray, "window wave key"],
    usable: Bool[np.ndarray, "window key"],
) -> Float[np.ndarray, "window wave head"]:
    """The chance that a random key inside the wave has a larger value than a random key outside, ties counting half; NaN without both.

    Only `usable` keys are compared; values (of 0 and more) that are equal to N_DIGITS after the point are ties. (Mann-Whitney U over n m,
    from mid-ranks.)
    """
    compared = inside & usable[:, None]
    n_inside = compared.sum(axis=-1)[:, :, None]
    pairs = n_inside * (usable.sum(axis=-1)[:, None, None] - n_inside)
    ranks = _ranks(np.where(usable[:, None], value, 2 * value.max(initial=1)))  # what is not compared ranks last
    above = np.matmul(compared.astype(np.float64), ranks.swapaxes(-1, -2)) - n_inside * (n_inside + 1) / 2
    return np.divide(above, pairs, out=np.full(above.shape, np.nan), where=pairs > 0)


def _ranks(value: Float[np.ndarray, "*rows key"]) -> Float64[np.ndarray, "*rows key"]:
    """The rank of each key in its row, counted from 1; equal values share their mean rank."""
    n_keys, n_bits = value.shape[-1], int(value.shape[-1]).bit_length()
    packed = np.rint(value * 10.0**N_DIGITS).astype(np.int64) << n_bits | np.arange(n_keys)  # one sort gives levels and their order
    packed.sort(axis=-1)
    level, order = packed >> n_bits, packed & ((1 << n_bits) - 1)
    is_new = np.ones(level.shape, bool)
    np.not_equal(level[..., 1:], level[..., :-1], out=is_new[..., 1:])
    first = np.flatnonzero(is_new)
    size = np.diff(first, append=level.size)
    sorted_ranks = np.repeat(first % max(n_keys, 1) + (size + 1) / 2, size).reshape(level.shape)
    ranks = np.empty(level.shape)
    np.put_along_axis(ranks, order, sorted_ranks, axis=-1)
    return ranks
