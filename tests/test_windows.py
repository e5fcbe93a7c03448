"""Windows: choosing, joining and naming them does not depend on the order they were read in."""

import dataclasses

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.windows import Windows, concatenate


def windows(*records, kind="ecg", **changes):
    n = len(records)
    tokens = np.random.default_rng(len(records)).integers(0, 101, (n, 500)).astype(np.uint8)
    position = np.tile(np.arange(500) / 100 - 0.5, (n, 1))
    fields = {
        "record": np.array(records),
        "start_s": np.arange(n) * 5.0,
        "low": np.zeros(n),
        "high": np.ones(n),
        "wave": np.full((n, 500), -1, np.int8),
        "segment": np.full((n, 500), -1, np.int8),
        "position": position,
    }
    return Windows(kind=kind, tokens=tokens, **fields | changes)


def test_phase_and_cycle_count_from_the_beat():
    made = windows("a")
    assert made.phase[0, [0, 50, 75, 150]] == pytest.approx([0.5, 0.0, 0.25, 0.0])
    assert made.cycle[0, [0, 16, 17, 50, 116, 117]].tolist() == [0, 0, 1, 1, 1, 2]


def test_what_is_not_known_has_cycle_minus_one_and_no_phase():
    position = np.full((2, 500), np.nan)
    position[1, 100:] = 7.0
    made = windows("a", "b", position=position)
    assert (made.cycle[0] == -1).all()
    assert made.cycle[1, [99, 100]].tolist() == [-1, 0]
    assert np.isnan(made.phase[1, :100]).all()


@pytest.mark.parametrize("which", [slice(1, 3), np.array([1, 2]), np.array([False, True, True, False])])
def test_choosing(which):
    made = windows("a", "b", "c", "d")
    assert made[which].record.tolist() == ["b", "c"]
    assert (made[which].identity == made.identity[1:3]).all()


def test_chunks_are_the_windows_in_order():
    made = windows("a", "b", "c", "d", "e")
    parts = list(made.chunks(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [len(part) for part in made.chunks(4)] == [3, 2]  # equal, not 4 and 1
    assert list(made[:0].chunks(4)) == []
    assert (concatenate(parts).tokens == made.tokens).all()


def test_a_subset_takes_records_evenly_in_any_order():
    made = windows(*"aaaaabc")
    chosen = made.subset(3)
    assert sorted(chosen.record) == ["a", "b", "c"]
    shuffled = made[np.array([6, 2, 0, 4, 5, 3, 1])].subset(3)
    assert set(shuffled.identity) == set(chosen.identity)
    assert len(made.subset(99)) == 7


def test_a_subset_takes_of_each_record_the_windows_with_most_waves():
    """Records a and b have no waves, and c has them in two of three windows; a spread minds records alone."""
    wave = np.full((5, 500), -1, np.int8)
    wave[3:, :10] = 0
    made = windows(*"abccc", wave=wave)
    with_waves = set(made.identity[3:])
    assert made.subset(1).identity[0] in with_waves
    assert sorted(made.subset(3).record) == ["a", "b", "c"]
    assert set(made.subset(4).identity) == {*made.identity[:2], *with_waves}
    assert sorted(made.spread(3).record) == ["a", "b", "c"]
    assert set(made[::-1].spread(3).identity) == set(made.spread(3).identity)


def test_joining_adds_counts_and_keeps_each_line_once():
    first = windows("a", sources=("x",), skipped=(("flat window", 1),), notes=("n",))
    second = windows("bb", sources=("y",), skipped=(("flat window", 2), ("missing samples", 1)), notes=("n", "m"))
    both = concatenate([first, second])
    assert both.records == ["a", "bb"]
    assert (both.sources, both.notes) == (("x", "y"), ("n", "m"))
    assert both.skipped == (("flat window", 3), ("missing samples", 1))
    assert both.rate_hz == 100.0


def test_identity_tells_start_and_tokens_apart_and_no_names():
    made = windows("a")
    assert dataclasses.replace(made, record=np.array(["b"]), person=np.array(["p"])).identity == made.identity
    for change in ({"start_s": np.array([1.0])}, {"tokens": made.tokens[:, ::-1].copy()}):
        assert dataclasses.replace(made, **change).identity != made.identity


def test_refusals():
    with pytest.raises(Refusal, match="no windows were given"):
        concatenate([])
    with pytest.raises(Refusal, match="windows of ecg and ppg cannot be mixed"):
        concatenate([windows("a"), windows("b", kind="ppg")])
