"""Labels of people's own: what matches is taken, what does not is refused by name."""

import numpy as np
import pytest

from heartlens.axes import CONTEXT
from heartlens.refusal import Refusal
from heartlens.training.corpus import Corpus
from heartlens.training.examples import token_examples, window_examples
from heartlens.training.labels import read_events, read_record_labels

RECORDS = ["ward/A1", "ward/A2", "ward/A3", "ward/A4"]


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("header", ["", "record,label\n", "Record,Label\n"])
def test_with_and_without_header_by_name_or_stem(table, header):
    path = table(header + "A1,N\nward/A2,A\nA3,N\nA4,A\n")
    labels = read_record_labels(path, RECORDS, ("N", "A"))
    assert labels.of == {"ward/A1": 0, "ward/A2": 1, "ward/A3": 0, "ward/A4": 1}
    assert labels.notes == ()


def test_left_out_labels_are_counted(table):
    labels = read_record_labels(table("A1,N\nA2,A\nA3,O\nA4,~\n"), RECORDS, ("N", "A"), ("O", "~"))
    assert labels.of == {"ward/A1": 0, "ward/A2": 1}
    assert labels.notes == ("left out 2 records labelled O, ~",)


def test_partial_leaves_out_what_does_not_match(table):
    labels = read_record_labels(table("A1,N\nA2,A\nB7,A\n"), RECORDS, ("N", "A"), partial=True)
    assert labels.of == {"ward/A1": 0, "ward/A2": 1}
    assert any("1 labels match no record (B7)" in note for note in labels.notes)
    assert any("2 records have no label (ward/A3, ward/A4)" in note for note in labels.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A1,N\nA2,A\nA3,N\nA4,X\n", r"labels\.csv, line 4: A4: unknown label 'X'.* legal: N, A.*--leave-out 'X'"),
        ("A1,N\nA2,A\nA3,N\nA4,A\nB7,A\n", r"1 labels match no record \(B7\); records are called ward/A1.*--partial"),
        ("A1,N\nA2,A\nA3,N\n", r"1 records have no label \(ward/A4\)"),
        ("B1,N\nB2,A\n", "2 labels match no record"),
        ("A1,N\nA2,N\nA3,N\nA4,N\n", r"no record is labelled A \(only N\); at least two classes"),
        ("A1,N\nA2,A\nA1,A\n", "line 3: A1 is labelled A here and N before"),
        ("record,time_s\nA1,0.5\n", "has the columns record, time_s; needed are record,label"),
        ("A1,N\nA2\n", "line 2: 'A2'; a line is record,label"),
        ("", "holds no lines"),
    ],
)
def test_refusals(table, text, message):
    with pytest.raises(Refusal, match=message):
        read_record_labels(table(text), RECORDS, ("N", "A"))


def test_partial_does_not_mean_nothing(table):
    with pytest.raises(Refusal, match="match no record"):
        read_record_labels(table("B1,N\nB2,A\n"), RECORDS, ("N", "A"), partial=True)


def test_a_stem_that_two_records_have(table):
    with pytest.raises(Refusal, match="A1 may be x/A1 or y/A1"):
        read_record_labels(table("A1,N\n"), ["x/A1", "y/A1"], ("N", "A"))


def test_no_file(tmp_path):
    with pytest.raises(Refusal, match=r"none\.csv is not a readable table \(No such file"):
        read_record_labels(tmp_path / "none.csv", RECORDS, ("N", "A"))


def test_events_are_sorted_by_record(table):
    events, notes = read_events(table("record,time_s\nA1,2.5\nA1,0.5\nA2,1\n"), RECORDS[:2])
    assert {name: times.tolist() for name, times in events.items()} == {"ward/A1": [0.5, 2.5], "ward/A2": [1.0]}
    assert notes == ()


@pytest.mark.parametrize("time", ["soon", "nan", "-1", "inf"])
def test_events_that_are_no_times(table, time):
    with pytest.raises(Refusal, match=f"line 1: A1: '{time}' is no time"):
        read_events(table(f"A1,{time}\n"), RECORDS[:1])


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).normal(size=n_samples).astype(np.float32)


def test_windows_take_their_records_class():
    corpus = Corpus("ecg", (noise(1500), noise(700), noise(600)), ("a", "b", "c"), "noise")
    examples = window_examples(corpus, {"a": 1, "b": 0}, ("no", "yes"), 500)
    assert examples.record.tolist() == ["a", "a", "a", "b"]
    assert examples.target.tolist() == [[1], [1], [1], [0]]
    assert examples.start_s.tolist() == [0, 5, 10, 0]
    assert examples.last_only
    assert examples.class_of_record() == {"a": 1, "b": 0}


def test_tokens_near_an_event_are_positive():
    corpus = Corpus("ecg", (noise(1000), noise(500, 1)), ("a", "a"), "noise", start_s=(0.0, 20.0))
    examples = token_examples(corpus, {"a": np.array([1.0, 7.004, 20.0, 100.0])}, "beat", 0.02, 500)
    positive = [np.flatnonzero(row).tolist() for row in examples.target]
    assert positive == [[98, 99, 100, 101, 102], [198, 199, 200, 201, 202], [0, 1, 2]]
    assert not examples.last_only
    assert examples.tokens.shape == (3, CONTEXT)


def test_events_outside_every_window():
    corpus = Corpus("ecg", (noise(1000),), ("a",), "noise")
    with pytest.raises(Refusal, match="no event lies in any window"):
        token_examples(corpus, {"a": np.array([50.0])}, "beat", 0.02, 500)


def test_flat_windows_are_no_examples():
    half_flat = np.concatenate([noise(500), np.zeros(500, np.float32)])
    examples = window_examples(Corpus("ecg", (half_flat,), ("a",), "x"), {"a": 0}, ("no", "yes"), 500)
    assert len(examples) == 1
    with pytest.raises(Refusal, match="every window is flat"):
        window_examples(Corpus("ecg", (np.zeros(500, np.float32),), ("a",), "x"), {"a": 0}, ("no", "yes"), 500)


def test_identity_changes_with_a_label():
    corpus = Corpus("ecg", (noise(500), noise(500, 1)), ("a", "b"), "noise")
    first, second = (window_examples(corpus, {"a": 0, "b": label}, ("no", "yes"), 500) for label in (0, 1))
    assert first.sha256 != second.sha256
