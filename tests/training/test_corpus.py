"""Windows are cut anywhere, each on its own; records, never windows, are divided."""

import numpy as np
import pytest

from heartlens.axes import CONTEXT
from heartlens.refusal import Refusal
from heartlens.signals.tokens import tokenise
from heartlens.training.corpus import Corpus, divided
from heartlens.training.folds import folds, held_out

RAMP = np.arange(2000, dtype=np.float32)


def test_every_example_begins_at_a_place_of_its_own():
    noise = np.random.default_rng(0).normal(size=5000).astype(np.float32)  # no two windows alike, so the tokens tell the place
    crops = Corpus("ecg", (noise,), ("a",), "noise").crops((0,), 64)
    assert len({row.tobytes() for row in crops}) > 55


def test_a_crop_is_the_published_tokeniser_on_that_stretch():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=CONTEXT).astype(np.float32)  # one place only
    assert (Corpus("ecg", (signal,), ("a",), "noise").crops((0,), 1)[0] == tokenise(signal)).all()


def test_places_are_drawn_evenly_over_signals_of_any_length():
    low, high = (np.tile(np.array([0, level], np.float32), 2000)[: CONTEXT - 1 + places] for level, places in ((1, 100), (1, 300)))
    high[1::2] = 2.0
    marked = high.copy()
    marked[::5] = 0.5
    crops = Corpus("ecg", (low, marked), ("a", "b"), "two").crops((0,), 4000)
    from_second = np.array([len(np.unique(row)) > 2 for row in crops]).mean()
    assert from_second == pytest.approx(0.75, abs=0.03)


def test_same_seed_same_windows(corpus):
    assert (corpus.crops((1, 2), 8) == corpus.crops((1, 2), 8)).all()
    assert (corpus.crops((1, 2), 8) != corpus.crops((1, 3), 8)).any()


def test_nothing_but_flat_windows_is_refused():
    flat = Corpus("ecg", (np.ones(600, np.float32),), ("a",), "flat.csv")
    with pytest.raises(Refusal, match=r"flat\.csv.*all flat"):
        flat.crops((0,), 1)


def test_no_record_is_on_both_sides(corpus):
    training, held = divided(corpus, 0.3, seed=0)
    assert set(training.records) | set(held.records) == set(corpus.records)
    assert not set(training.records) & set(held.records)
    assert len(held.records) == 2
    assert len(training.signal) + len(held.signal) == 7


def test_side_of_a_record_does_not_depend_on_order(corpus):
    turned = Corpus("ecg", corpus.signal[::-1], corpus.record[::-1], "bumps", start_s=corpus.start_s[::-1])
    assert divided(turned, 0.3, seed=0)[1].records == divided(corpus, 0.3, seed=0)[1].records


def test_one_record_cannot_be_divided():
    with pytest.raises(Refusal, match="holds one record"):
        divided(Corpus("ecg", (RAMP,), ("a",), "x"), 0.1, 0)


def test_folds_hold_every_record_once_and_each_class_evenly():
    class_of = {f"r{i}": int(i % 5 < 2) for i in range(50)}  # 20 of one class, 30 of the other
    dealt = folds(class_of, 5, seed=1)
    assert sorted(record for fold in dealt for record in fold) == sorted(class_of)
    assert [sum(class_of[record] for record in fold) for fold in dealt] == [4] * 5


@pytest.mark.parametrize("n_folds", [0, 1, 4])
def test_fewer_records_than_folds(n_folds):
    with pytest.raises(Refusal, match=rf"{n_folds} folds cannot be made of 3 records; legal: 2 to 3"):
        folds({"a": 0, "b": 1, "c": 0}, n_folds, seed=0)


def test_held_out_takes_of_every_class():
    class_of = {f"r{i}": int(i < 3) for i in range(10)}
    training, validation = held_out(class_of, 0.2, seed=0)
    assert sorted(training + validation) == sorted(class_of)
    assert {class_of[record] for record in validation} == {0, 1} == {class_of[record] for record in training}


def test_a_class_of_one_record_cannot_be_held_out():
    with pytest.raises(Refusal, match="only record b"):
        held_out({"a": 0, "b": 1, "c": 0}, 0.2, seed=0)
