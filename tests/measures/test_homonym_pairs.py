"""Labels, pairs, shuffles and sums over pairs: against counting by hand and pair by pair; the probe and the plane against theory."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from heartlens.measures import homonyms as measures
from heartlens.measures.probe import neighbour_plane, principal_plane, probe_accuracy, shuffled_within
from heartlens.signals.simulate.regular import regular

N_TOKENS = 120


def drawn(seed=0, n_values=6, n_labels=3):
    """Tokens, cycles and labels of one window, some unknown."""
    rng = np.random.default_rng(seed)
    cycle = np.repeat(np.arange(-1, 5), N_TOKENS // 6)
    return rng.integers(n_values, size=N_TOKENS).astype(np.uint8), cycle, rng.integers(-1, n_labels, N_TOKENS).astype(np.int8)


def unit_vectors(seed=0, levels=2, width=5):
    return measures.of_unit_length(np.random.default_rng(seed).normal(size=(levels, N_TOKENS, width)))


def test_the_slope_of_a_triangle():
    up, down = np.arange(0, 50, 2), np.arange(50, 0, -2)
    tokens = np.concatenate([up, down, np.full(20, 0)]).astype(np.uint8)[None]
    found = measures.slope_labels(tokens, 100.0, flat=0.25)[0]
    assert found[1:23].tolist() == [1] * 22  # five tokens smoothed, then the neighbours: three to each side decide
    assert found[25] == -1  # the top
    assert found[28:47].tolist() == [0] * 19
    assert found[53:].tolist() == [-1] * 17
    assert measures.slope_labels(tokens, 100.0, flat=2.1)[0].max() == -1  # a slope of 2 is flat then


def test_the_phase_of_a_regular_cycle():
    windows = regular("ecg", 1)
    found, known = measures.phase_labels(windows, 4)[0], ~np.isnan(windows.position[0])
    since_r = (np.arange(500) - 26) % 80  # a cycle has 80 tokens, its R peak is token 26
    inside = known & (since_r % 20 > 0)  # rounding decides on which side of its edge a quarter's first token falls
    assert inside.sum() > 400
    assert (found[inside] == since_r[inside] // 20).all()
    assert (found[~known] == -1).all()


def test_the_first_token_has_no_label():
    found = measures.labels(regular("ppg", 2), n_phases=4, flat=0.0)
    assert list(found) == list(measures.LABELS)
    assert all((label[:, 0] == -1).all() and (label[:, 1:] >= 0).mean() > 0.9 for label in found.values())


def test_pairs_are_of_equal_value_other_cycles_and_known_labels():
    token, cycle = np.array([7, 7, 7, 7, 8, 7], np.uint8), np.array([0, 0, 1, 2, 1, -1])
    found = measures.paired(token, cycle, np.array([0, 1, 1, -1, 0, 0]))
    assert np.argwhere(np.triu(found)).tolist() == [[0, 2], [1, 2]]
    assert (found == found.T).all()


def test_a_shuffle_moves_whole_visits_within_a_value():
    token, cycle, label = drawn()
    found = measures.shuffled(token, cycle, label, 50, np.random.default_rng(1))
    assert (found[0] == label).all()
    known = (label >= 0) & (cycle >= 0)
    assert (found[:, ~known] == label[~known]).all()
    assert (found[1:, known] != label[known]).any(axis=1).all()
    visits = sorted({(t, c, k) for t, c, k in zip(token[known], cycle[known], label[known], strict=True)})
    for one in found[1:]:
        moved = [{int(k) for k in one[known & (token == t) & (cycle == c) & (label == k)]} for t, c, k in visits]
        assert all(len(labels) == 1 for labels in moved)  # a visit stays together
        for value in np.unique(token[known]):
            before = sorted(int(k) for t, _, k in visits if t == value)
            assert sorted(min(labels) for labels, visit in zip(moved, visits, strict=True) if visit[0] == value) == before
        assert len({(t, c, *labels) for (t, c, _), labels in zip(visits, moved, strict=True)}) == len(visits)  # those of one cycle differ


def test_every_arrangement_is_as_likely():
    """Three visits to one value, one of them of label 1: it falls on each in a third of the shuffles, with a standard error of 0.9 %."""
    token, cycle, label = np.full(4, 5, np.uint8), np.array([0, 1, 1, 2]), np.array([1, 0, 0, 0])
    found = measures.shuffled(token, cycle, label, 3001, np.random.default_rng(0))[1:]
    assert found.mean(axis=0) == pytest.approx([1 / 3] * 4, abs=0.035)
    assert (found[:, 1] == found[:, 2]).all()


def by_pairs(unit, pairs, label):
    """The same sums, pair by pair and token by token, for one level and one arrangement of the labels."""
    cosine = unit @ unit.T
    same = [(i, j) for i, j in combinations(range(len(label)), 2) if pairs[i, j] and label[i] == label[j]]
    other = [(i, j) for i, j in combinations(range(len(label)), 2) if pairs[i, j] and label[i] != label[j]]
    silhouettes, pure = [], []
    for token in np.flatnonzero(pairs.any(axis=1)):
        partners = np.flatnonzero(pairs[token])
        mean = {k: np.mean([1 - cosine[token, p] for p in partners if label[p] == k]) for k in set(label[partners].tolist())}
        a, others = mean.pop(int(label[token]), None), list(mean.values())
        if a is not None and others:
            silhouettes.append((min(others) - a) / max(min(others), a))
        pure.append(label[max(partners, key=lambda p, token=token: cosine[token, p])] == label[token])
    sums = {"cosine_within": sum(cosine[i, j] for i, j in same), "n_within": len(same)}
    sums |= {"cosine_between": sum(cosine[i, j] for i, j in other), "n_between": len(other)}
    return sums | {"silhouette": sum(silhouettes), "n_silhouette": len(silhouettes), "purity": sum(pure), "n_purity": len(pure)}


def test_sums_over_pairs_are_those_of_a_count_pair_by_pair():
    token, cycle, label = drawn()
    labels = measures.shuffled(token, cycle, label, 3, np.random.default_rng(0))
    pairs, unit = measures.paired(token, cycle, label), unit_vectors()
    found = measures.pair_sums(unit, pairs, labels)
    for level in range(len(unit)):
        for shuffle in range(len(labels)):
            expected = by_pairs(unit[level], pairs, labels[shuffle])
            at = {name: values[shuffle] if name[:2] == "n_" else values[level, shuffle] for name, values in found.items()}
            assert at == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("known", ["all", "none", "one cycle"])
def test_cosines_without_looking_at_pairs_are_those_of_the_pairs(known):
    token, cycle, label = drawn()
    cycle = {"all": cycle, "none": np.full_like(cycle, -1), "one cycle": np.zeros_like(cycle)}[known]
    labels, unit = measures.shuffled(token, cycle, label, 5, np.random.default_rng(0)), unit_vectors()
    by_pairs = measures.pair_sums(unit, measures.paired(token, cycle, label), labels)
    sums = measures.cosine_sums(unit, measures.groups_of(token, cycle, labels))
    assert sorted(sums) == ["cosine_between", "cosine_within", "n_between", "n_within"]
    for name, values in sums.items():
        assert values == pytest.approx(by_pairs[name], rel=1e-9, abs=1e-9)


def test_without_pairs_everything_is_zero():
    token, cycle, label = drawn()
    labels = measures.shuffled(token, cycle, label, 3, np.random.default_rng(0))
    full = measures.pair_sums(unit_vectors(), measures.paired(token, cycle, label), labels)
    none = measures.pair_sums(unit_vectors(), measures.paired(token, np.zeros_like(cycle), label), labels)
    assert {name: values.shape for name, values in none.items()} == {name: values.shape for name, values in full.items()}
    assert all((values == 0).all() for values in none.values())


def test_cosines_of_any_two_tokens_of_different_cycles():
    _, cycle, _ = drawn()
    unit = unit_vectors()
    chosen = [(i, j) for i, j in combinations(range(N_TOKENS), 2) if -1 not in (cycle[i], cycle[j]) and cycle[i] != cycle[j]]
    found, n_pairs = measures.apart_sums(unit, cycle)
    assert n_pairs == len(chosen)
    assert found == pytest.approx([sum(level[i] @ level[j] for i, j in chosen) for level in unit])
    assert measures.apart_sums(unit, np.full(N_TOKENS, -1))[1] == 0


def classes(n=4000, distance=2.0, seed=0, share=0.5):
    """Two normal classes `distance` standard deviations apart along one of 6 stretched coordinates, in 40 records."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < share).astype(int)
    vector = rng.normal(size=(n, 6))
    vector[:, 2] += distance * label
    return vector * [1, 100, 3, 0.01, 5, 1], label, rng.integers(40, size=n).astype(str)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_probe_is_as_good_as_can_be(share):
    """Normal classes at distance d: the best balanced accuracy is the normal probability of d / 2, however rare one class is."""
    vector, label, record = classes(share=share)
    found = np.mean(probe_accuracy(vector, label[None], record))
    assert found == pytest.approx(stats.norm.cdf(1.0), abs=3 * 0.5 / np.sqrt(4000 * share))


def test_a_probe_of_vectors_that_know_nothing_is_at_chance():
    rng = np.random.default_rng(3)
    label, record = rng.choice(3, 3000, p=[0.6, 0.3, 0.1]), rng.integers(10, size=3000)
    found = probe_accuracy(rng.normal(size=(3000, 8)), label[None], record)
    assert found.shape == (10, 1)
    assert found.mean() == pytest.approx(1 / 3, abs=3 * np.sqrt(2 / 9 / 900))  # the rarest class, 300 tokens, decides


def test_a_probe_is_asked_about_records_it_has_not_seen():
    """Vectors that name their record, whose tokens all have one label: known records would be recognised, new ones are not."""
    rng = np.random.default_rng(0)
    record = np.repeat(np.arange(60), 20)
    label = rng.permutation(np.repeat([0, 1], 30))[record]
    vector = rng.normal(size=(60, 10))[record] + 0.01 * rng.normal(size=(1200, 10))
    assert probe_accuracy(vector, label[None], record).mean() == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(60))


def test_one_record_cannot_be_probed():
    vector, label, record = classes(n=100)
    assert np.isnan(probe_accuracy(vector, label[None], np.full_like(record, "one"))).all()


def test_labels_are_shuffled_among_examples_of_one_value():
    rng = np.random.default_rng(0)
    value, label = rng.integers(4, size=200), rng.integers(3, size=200)
    found = shuffled_within(value, label, 9, rng)
    assert (found[0] == label).all()
    assert (found[1:] != label).any(axis=1).all()
    for one in found:
        assert all(sorted(one[value == v]) == sorted(label[value == v]) for v in range(4))


def test_the_plane_of_a_known_ellipse():
    """Points spread 3 : 2 : 1 along three directions: the parts of the variance are 9, 4 and 1 of 14."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 3))
    scores = np.linalg.qr(scores - scores.mean(axis=0))[0] * [3, 2, 1]
    axes = np.linalg.qr(rng.normal(size=(7, 3)))[0]
    plane, explained = principal_plane(scores @ axes.T + 5)
    assert explained == pytest.approx([9 / 14, 4 / 14])
    signs = np.sign([scores[np.abs(scores[:, k]).argmax(), k] for k in (0, 1)])
    np.testing.assert_allclose(plane, scores[:, :2] * signs, atol=1e-9)


def test_neighbours_stay_together():
    """Two directions with noise: in the plane every point's nearest neighbour is of its own direction."""
    rng = np.random.default_rng(0)
    direction = np.repeat([0, 1], 20)
    vector = np.eye(8)[direction] * rng.uniform(1, 5, (40, 1)) + rng.normal(0, 0.05, (40, 8))
    plane = neighbour_plane(vector, seed=0)
    apart = np.linalg.norm(plane[:, None] - plane, axis=-1) + np.diag(np.full(40, np.inf))
    assert (direction[apart.argmin(axis=1)] == direction).all()
    assert (neighbour_plane(vector[:3], seed=0) == 0).all()
