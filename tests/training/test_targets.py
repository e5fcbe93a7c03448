"""Tables of numbers: what can be learnt is taken with its unit, what cannot is refused in one line that says what to do."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.training.corpus import Corpus
from heartlens.training.examples import number_examples
from heartlens.training.targets import ranges_of, read_targets, within_record

RECORDS = ["ward/A1", "ward/A2"]


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "targets.csv"
        path.write_text(text)
        return path

    return write


def test_numbers_of_whole_recordings_with_their_units(table):
    targets = read_targets(table("record,hr_bpm,ibi_s\nA1,60,1.0\nward/A2,75,0.8\n"), RECORDS)
    assert (targets.names, targets.units, targets.place) == (("hr", "ibi"), ("bpm", "s"), "")
    assert {name: value.tolist() for name, value in targets.value.items()} == {"ward/A1": [[60, 1.0]], "ward/A2": [[75, 0.8]]}


def test_numbers_in_time_and_empty_cells(table):
    targets = read_targets(table("record,time_s,hr_bpm,note\nA1,5,60,x\nA1,10,,x\nA2,5,70,x\n"), RECORDS, columns=["hr_bpm"])
    assert targets.place == "time_s"
    assert targets.time_s["ward/A1"].tolist() == [5, 10]
    np.testing.assert_array_equal(targets.value["ward/A1"], [[60], [np.nan]])
    assert targets.notes == ("1 empty cells have no target",)


def test_a_unit_that_the_name_does_not_tell(table):
    targets = read_targets(table("record,stiffness\nA1,1\nA2,2\n"), RECORDS, units=["none"])
    assert (targets.names, targets.units) == (("stiffness",), ("",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("record,hr_bpm\nA1,high\nA2,70\n", r"line 2: A1: hr_bpm is 'high', which is no number; write numbers alone"),
        ("record,hr_bpm\nA1,72 bpm\nA2,70\n", r"hr_bpm is '72 bpm', which holds a unit \(bpm\); write 72, all in one unit"),
        ('record,hr_bpm\nA1,"72,5"\nA2,70\n', r"hr_bpm is '72,5', which holds a unit|which is no number"),
        ("record,hr_bpm\nA1,72,5\nA2,70,1\n", r"line 2: 3 cells, and 2 columns; is a decimal comma in it"),
        ("record,hr_bpm\nA1,inf\nA2,70\n", r"hr_bpm is inf; leave the cell empty"),
        ("record,hr_bpm\nA1,0.9\nA2,70\n", r"hr_bpm is 0.9 in 1 of 2 lines; legal: 20 to 300; another unit\? .*--ranges hr_bpm=LOW:HIGH"),
        ("record,ibi_ms\nA1,0.9\nA2,800\n", r"ibi_ms is 0.9 .*legal: 200 to 3000"),
        ("record,hr_bpm\nA1,70\nA2,70\n", r"hr_bpm is 70 in all 2 lines; there is nothing to learn"),
        ("record,hr_bpm\nA1,\nA2,\n", r"hr_bpm has no number at all"),
        ("record,hr\nA1,60\nA2,70\n", r"the unit of 'hr' is not known; end its name with one \(say hr_bpm\) or give --units"),
        ("record,time,hr_bpm\nA1,1,60\nA2,1,70\n", r"has the column time; call it start_s .* or time_s"),
        ("record,time_s,start_s,hr_bpm\nA1,1,1,60\n", r"has both start_s and time_s"),
        ("record,hr_bpm\nA1,60\nA1,61\nA2,70\n", r"line 3: A1 was in line 2 already; .* need a column start_s or time_s"),
        ("record,time_s,hr_bpm\nA1,-1,60\nA2,1,70\n", r"line 2: '-1' is no time"),
        ("record,hr_bpm\nA1,60\nB9,70\n", r"1 records have no label \(ward/A2\)"),
        ("name,hr_bpm\nA1,60\n", r"has the columns name, hr_bpm; record is missing"),
        ("record\nA1\n", r"needed is one with numbers"),
        ("record,hr_bpm\n", "holds no lines below its header"),
    ],
)
def test_refusals(table, text, message):
    with pytest.raises(Refusal, match=message):
        read_targets(table(text), RECORDS)


def test_numbers_in_two_units_are_of_two_sizes(table):
    lines = [f"A{1 + i % 2},{i},{0.8 + 0.01 * i if i < 10 else 800 + 10 * i}" for i in range(20)]
    path = table("record,time_s,delay_ms\n" + "\n".join(lines))
    with pytest.raises(Refusal, match=r"delay_ms are of two sizes, 0.8 to 0.89 and 900 to 990: are they in two units"):
        read_targets(path, RECORDS)
    assert len(read_targets(path, RECORDS, ranges={"delay_ms": (0.0, 2000.0)}).value["ward/A1"]) == 10


@pytest.mark.parametrize("text", ["hr_bpm", "hr_bpm=1", "hr_bpm=5:2", "hr_bpm=a:b"])
def test_ranges_that_are_none(text):
    with pytest.raises(Refusal, match="legal: COLUMN=LOW:HIGH"):
        ranges_of([text])
    assert ranges_of(["hr_bpm=20:300"]) == {"hr_bpm": (20, 300)}


def test_within_a_recording_only_changes_count(table):
    text = "record,time_s,abp_raw\nA1,5,1000\nA1,10,1200\nA2,5,7\nA2,10,9\n"
    targets = read_targets(table(text), RECORDS)
    assert targets.is_uncalibrated
    assert {name: value.ravel().tolist() for name, value in within_record(targets).value.items()} == {name: [-1, 1] for name in RECORDS}
    with pytest.raises(Refusal, match="ward/A2: its numbers do not change"):
        within_record(read_targets(table(text.replace("10,9", "10,7")), RECORDS))


def ramp():
    """A recording of 20 s whose samples tell where they are, in two stretches."""
    signal = np.arange(1000, dtype=np.float32)
    return Corpus("ppg", (signal[:700], signal[700:]), ("ward/A1", "ward/A1"), "ramp", start_s=(0.0, 20.0))


@pytest.mark.parametrize(("column", "start_s"), [("start_s", [2.0]), ("time_s", [0.02])])
def test_a_window_begins_or_ends_where_its_line_says(table, column, start_s):
    targets = read_targets(table(f"record,{column},hr_bpm\nA1,2,60\nA1,1000,70\n"), ["ward/A1"])
    examples = number_examples(ramp(), targets, "last", 250, n_tokens=100)
    assert examples.start_s.tolist() == pytest.approx(start_s)
    assert examples.tokens.shape == (1, 100)
    assert examples.target.tolist() == [[[60]]]
    assert "1 of 2 times have no whole window in a usable stretch" in examples.notes


def test_tokens_have_their_numbers_and_the_others_none(table):
    targets = read_targets(table("record,time_s,hr_bpm\nA1,1,60\nA1,3,70\n"), ["ward/A1"])
    examples = number_examples(ramp(), targets, "every", 100, n_tokens=100)
    assert examples.start_s.tolist() == [0, 2]
    assert [np.flatnonzero(np.isfinite(row[:, 0])).tolist() for row in examples.target] == [[50], [50]]
    assert examples.target[1, 50, 0] == 70
    with pytest.raises(Refusal, match="call the column time_s"):
        number_examples(ramp(), read_targets(table("record,start_s,hr_bpm\nA1,1,60\nA1,3,70\n"), ["ward/A1"]), "every", 100)


def test_times_outside_every_window(table):
    targets = read_targets(table("record,time_s,hr_bpm\nA1,1000,60\nA1,1001,70\n"), ["ward/A1"])
    with pytest.raises(Refusal, match="no window fits any time_s"):
        number_examples(ramp(), targets, "last", 100)
