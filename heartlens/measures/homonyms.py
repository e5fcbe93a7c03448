"""Homonyms, tokens of equal value: are the vectors of those with the same label more alike? Arrays in, arrays out.

A *pair* is two tokens of one window with equal values, both labelled, from different cycles: neighbours in time are alike for trivial
reasons. A *visit* to a value is its tokens of one cycle and label. The null shuffles labels among the visits to the same value, so that
tokens that follow each other stay together and do not count as independent. Distance is 1 - cosine; silhouette: Rousseeuw 1987, of a
token among its partners.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt8
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from heartlens.windows import Windows

LABELS = ("slope", "phase")  # the kinds of `labels`
SMOOTHED_S = 0.04  # of the signal before its slope is taken
COUNTED_BY = {"cosine_within": "n_within", "cosine_between": "n_between", "silhouette": "n_silhouette", "purity": "n_purity"}
ROUNDING = 1e-9  # distances this small are none
Labels = Int8[np.ndarray, "window time"]
Vectors = Float[np.ndarray, "level time d_model"]
Paired = Bool[np.ndarray, "time time"]
BySum = dict[str, np.ndarray]


def labels(windows: Windows, *, n_phases: int, flat: float) -> dict[str, Labels]:
    """Each token's label of either kind; the first token has none, because no token lies before it and it is the attention sink."""
    by_kind = {"slope": slope_labels(windows.tokens, windows.rate_hz, flat), "phase": phase_labels(windows, n_phases)}
    for label in by_kind.values():
        label[:, 0] = -1
    return by_kind


def slope_labels(tokens: UInt8[np.ndarray, "window time"], rate_hz: float, flat: float) -> Labels:
    """1 where the signal rises, 0 where it falls, -1 where it is flat: moves by less than `flat` tokens from one token to the next.

    The slope is the centred difference of the tokens, these smoothed over about SMOOTHED_S.
    """
    half = round(rate_hz * SMOOTHED_S / 2)
    padded = np.pad(tokens.astype(float), ((0, 0), (half + 1, half + 1)), mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=1).mean(axis=-1)
    slope = (smooth[:, 2:] - smooth[:, :-2]) / 2
    return np.where(np.abs(slope) < max(flat, ROUNDING), -1, slope > 0).astype(np.int8)


def phase_labels(windows: Windows, n_phases: int) -> Labels:
    """Which of `n_phases` equal parts of the cycle each token lies in; -1 where that is not known."""
    part = np.minimum(np.floor(windows.phase * n_phases), n_phases - 1)
    return np.nan_to_num(part, nan=-1).astype(np.int8)


def paired(token: UInt8[np.ndarray, " time"], cycle: Int[np.ndarray, " time"], label: Int[np.ndarray, " time"]) -> Paired:
    """Which two tokens are a pair."""
    is_labelled = (label >= 0) & (cycle >= 0)
    return (token[:, None] == token) & (cycle[:, None] != cycle) & is_labelled[:, None] & is_labelled


def shuffled(
    token: UInt8[np.ndarray, " time"],
    cycle: Int[np.ndarray, " time"],
    label: Int[np.ndarray, " time"],
    n_shuffles: int,
    rng: np.random.Generator,
) -> Int8[np.ndarray, "shuffle time"]:
    """The labels, first as they are, then shuffled among the visits to each value; what has no label or no cycle keeps what it has.

    Cycles with the same number of visits to a value swap their labels, and the visits of one cycle swap theirs: so the visits of one
    cycle still differ, and pairs, which are of different cycles, are of the same label as often as before.
    """
    labels = np.repeat(label.astype(np.int8)[None], n_shuffles, axis=0)
    labelled = np.flatnonzero((label >= 0) & (cycle >= 0))
    visits, visit = np.unique(np.stack([token[labelled], cycle[labelled], label[labelled]]).astype(int), axis=1, return_inverse=True)
    group, n_visits = np.unique(visits[:2], axis=1, return_inverse=True, return_counts=True)[1:]
    alike = visits[0] * (len(labelled) + 1) + n_visits[group.reshape(-1)]  # value and number of visits
    slots = np.lexsort([group.reshape(-1), alike])
    by_group, by_visit = rng.random((n_shuffles - 1, len(n_visits)))[:, group.reshape(-1)], rng.random((n_shuffles - 1, len(alike)))
    moved = np.empty((n_shuffles - 1, len(alike)), np.int8)
    moved[:, slots] = visits[2][np.lexsort([by_visit, by_group, np.broadcast_to(alike, by_visit.shape)])]
    labels[1:, labelled] = moved[:, visit.reshape(-1)]
    return labels


def of_unit_length(vectors: Float[np.ndarray, "*axis d_model"]) -> Float[np.ndarray, "*axis d_model"]:
    """The vectors at length 1, in float64; a vector of length 0 stays."""
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def centred(vectors: Float[np.ndarray, "*axis time d_model"]) -> Float[np.ndarray, "*axis time d_model"]:
    """The vectors less their mean over the tokens, in float64.

    >>> centred(np.array([[1.0, 0.0], [3.0, 2.0]])).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """
    return np.asarray(vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=-2, keepdims=True))


def cosine_to(vectors: Float[np.ndarray, "*axis time d_model"], reference: int) -> Float[np.ndarray, "*axis time"]:
    """The cosine of each token's vector and that of the token `reference` (an index), in float64.

    >>> cosine_to(np.array([[1.0, 0.0], [3.0, 3.0], [0.0, 2.0]]), 0).round(3)
    array([1.   , 0.707, 0.   ])
    """
    unit = of_unit_length(vectors)
    return np.asarray((unit @ unit[..., reference, :, None])[..., 0])


def pair_sums(unit: Vectors, pairs: Paired, labels: Int[np.ndarray, "shuffle time"]) -> BySum:
    """Sums over pairs and tokens, and their numbers `n_...`: cosine within and between labels, silhouette, purity.

    Each (level, shuffle), the numbers (shuffle). Purity: how often a token's most similar partner has its label.
    """
    sums, n_groups = _nothing(len(unit), len(labels)), int(labels.max()) + 1
    for block in _blocks(pairs):
        for name, values in _of_blocks(unit, pairs, labels, block, n_groups).items():
            sums[name] += values
    return sums


@dataclass(frozen=True)
class Groups:
    """Sets of tokens whose pairs are counted: of one value (`alike`), and of one value and label, for each shuffle (`within`).

    Each is a matrix that adds up the tokens' vectors by set, and one by set and cycle, whose pairs do not count.
    """

    alike: tuple[csr_matrix, csr_matrix]
    within: tuple[tuple[csr_matrix, csr_matrix], ...]


def groups_of(token: UInt8[np.ndarray, " time"], cycle: Int[np.ndarray, " time"], labels: Int[np.ndarray, "shuffle time"]) -> Groups:
    """The sets of which `cosine_sums` takes the sums, from the labels of `shuffled`."""
    labelled = np.flatnonzero((labels[0] >= 0) & (cycle >= 0))

    def adding(*same: np.ndarray) -> tuple[csr_matrix, csr_matrix]:
        return _adding(labelled, len(token), same), _adding(labelled, len(token), (*same, cycle))

    return Groups(adding(token), tuple(adding(token, label) for label in labels))


def _adding(chosen: Int[np.ndarray, " chosen"], n_time: int, same: tuple[np.ndarray, ...]) -> csr_matrix:
    """The matrix (group, time) that adds up those of the chosen tokens that are alike in all of `same`."""
    groups, group = np.unique(np.stack([each[chosen] for each in same]).astype(int), axis=1, return_inverse=True)
    return csr_matrix((np.ones(len(chosen)), (group.reshape(-1), chosen)), (max(groups.shape[1], 1), n_time))


def cosine_sums(unit: Vectors, groups: Groups) -> BySum:
    """The cosines of `pair_sums` and their numbers alone, without looking at any pair.

    The cosines of all pairs of a set of unit vectors, each with each, add up to the squared length of the set's sum.
    """
    by_token = np.moveaxis(unit, 0, 1).reshape(unit.shape[1], -1)

    def squares(adding: csr_matrix) -> tuple[Float[np.ndarray, " level"], float]:
        """The cosines of each token with each of its set, itself too, and how many there are."""
        sums = (adding @ by_token).reshape(adding.shape[0], len(unit), -1)
        return np.einsum("gld,gld->l", sums, sums), float((np.diff(adding.indptr).astype(float) ** 2).sum())

    def of_other_cycles(adding: tuple[csr_matrix, csr_matrix]) -> tuple[Float[np.ndarray, " level"], float]:
        (cosines, n_pairs), (of_one_cycle, n_of_one_cycle) = map(squares, adding)
        return (cosines - of_one_cycle) / 2, (n_pairs - n_of_one_cycle) / 2  # each pair was met from both its tokens

    (all_cosines, n_all), within = of_other_cycles(groups.alike), list(map(of_other_cycles, groups.within))
    cosine, number = np.stack([each for each, _ in within], axis=1), np.array([each for _, each in within])
    return {"cosine_within": cosine, "n_within": number, "cosine_between": all_cosines[:, None] - cosine, "n_between": n_all - number}


def _blocks(pairs: Paired) -> Iterator[Int[np.ndarray, "block token"]]:
    """The tokens that are paired with each other, directly or through others (those of one value): blocks of like size together.

    A block that has fewer tokens than the largest of those with it ends in -1.
    """
    _, block_of = connected_components(csr_matrix(pairs), directed=False)
    size, tokens = np.bincount(block_of), np.argsort(block_of, kind="stable")
    first, width = np.cumsum(size) - size, 2
    while (size >= width).any():  # a token alone is in no pair
        chosen = (size >= width) & (size < 2 * width)
        place = np.arange(2 * width - 1)
        inside = place < size[chosen, None]
        if chosen.any():
            yield np.where(inside, tokens[np.where(inside, first[chosen, None] + place, 0)], -1)
        width *= 2


def _of_blocks(
    unit: Vectors, pairs: Paired, labels: Int[np.ndarray, "shuffle time"], block: Int[np.ndarray, "block token"], n_groups: int
) -> BySum:
    """The sums of `pair_sums` over blocks of tokens, no pair of which reaches out of its block."""
    is_token = block >= 0
    pairs = pairs[block[:, :, None], block[:, None]] & is_token[:, :, None] & is_token[:, None]
    unit, labels = unit[:, block], np.where(is_token, labels[:, block], -1)
    cosine = unit @ unit.swapaxes(-1, -2)
    nearest = np.where(pairs, cosine, -np.inf).argmax(axis=-1)
    is_pure = (np.take_along_axis(labels[:, None], nearest[None], axis=-1) == labels[:, None]) & is_token
    member = np.moveaxis(labels[..., None] == np.arange(n_groups), 0, 2)
    by_group = member.reshape(*block.shape, -1).astype(float)
    partners = (pairs.astype(float) @ by_group).reshape(member.shape)
    alike = (np.where(pairs, cosine, 0.0) @ by_group).reshape(-1, *member.shape)
    same = partners * member, alike * member
    return {
        "cosine_within": same[1].sum(axis=(1, 2, 4)) / 2,  # each pair was met from both its tokens
        "n_within": same[0].sum(axis=(0, 1, 3)) / 2,
        "cosine_between": (alike - same[1]).sum(axis=(1, 2, 4)) / 2,
        "n_between": (partners - same[0]).sum(axis=(0, 1, 3)) / 2,
        **_silhouettes(partners, alike, member),
        "purity": is_pure.sum(axis=(2, 3)).T.astype(float),
        "n_purity": np.full(len(labels), float(is_token.sum())),
    }


def apart_sums(unit: Vectors, cycle: Int[np.ndarray, " time"]) -> tuple[Float[np.ndarray, " level"], float]:
    """The sum of the cosines of all pairs of tokens from different cycles, whatever their values, and the number of these pairs."""
    member = (cycle == np.arange(max(int(cycle.max()), 0) + 1)[:, None]).astype(float)
    by_cycle = member @ unit
    squares = (by_cycle.sum(axis=1) ** 2).sum(axis=-1) - (by_cycle**2).sum(axis=(1, 2))
    n_tokens = member.sum(axis=1)
    return squares / 2, float(n_tokens.sum() ** 2 - (n_tokens**2).sum()) / 2


def _nothing(n_levels: int, n_shuffles: int) -> BySum:
    sums = {name: np.zeros((n_levels, n_shuffles)) for name in COUNTED_BY}
    return sums | {name: np.zeros(n_shuffles) for name in COUNTED_BY.values()}


def _silhouettes(
    partners: Float[np.ndarray, "block token shuffle group"],
    alike: Float[np.ndarray, "level block token shuffle group"],
    member: Bool[np.ndarray, "block token shuffle group"],
) -> BySum:
    """Of tokens with a partner in their own and in another label: (b - a) / max(a, b), mean distance a to their own, b to the nearest."""
    distance = 1 - np.divide(alike, partners, out=np.full(alike.shape, -np.inf), where=partners > 0)
    to_own = np.where(member, distance, np.inf).min(axis=-1)
    to_other = np.where(member, np.inf, distance).min(axis=-1)
    counted = np.isfinite(to_own) & np.isfinite(to_other)
    to_own, to_other = np.where(counted, to_own, 0), np.where(counted, to_other, 0)
    larger = np.maximum(to_own, to_other)
    silhouette = np.divide(to_other - to_own, larger, out=np.zeros_like(to_own), where=larger > ROUNDING)
    return {"silhouette": silhouette.sum(axis=(1, 2)), "n_silhouette": counted[0].sum(axis=(0, 1)).astype(float)}
