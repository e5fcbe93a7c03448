"""What a result may say: no person, folder or date, unless names are kept; and the same name gives the same code."""

import re

import numpy as np
import pytest
import torch
from planted import random_state

import heartlens as hl
from heartlens.analysis import measure
from heartlens.cli import run_command
from heartlens.privacy import CODED_NAMES, Names, names_beside, person_code, record_code
from heartlens.signals.files import Files
from heartlens.signals.simulate import ecg, simulated
from heartlens.store import read_measured, read_summary

SCAN = ["--n-twins", "2", "--twin-windows", "1", "--n-rotations", "2", "--n-permutations", "99", "--rate", "100", "--format", "svg"]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("/home/Roe/x.csv: no header", "x.csv: no header"),
        ("skipped /data/Jane Roe/a b/x.csv: bad", "skipped x.csv: bad"),
        ("persons of 3 records as the lines of Roe/persons.csv say", "persons of 3 records as the lines of persons.csv say"),
        ("recorded on 1961-02-03T10:11:12Z, at 2.5 mV/s", "recorded on (date), at 2.5 mV/s"),
        ("born 03/02/1961 or 3.2.1961", "born (date) or (date)"),
        ("shard 2/8, 12 x flat window, QRS/T", "shard 2/8, 12 x flat window, QRS/T"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("x is y (taken as Jane Roe's, not Bob's)", f"x is y (taken as {person_code('Jane Roe')}'s, not {person_code('Bob')}'s)"),
    ],
)
def test_messages(text, stored):
    names = Names(folders=("/data/Jane Roe/a b", "/data/Jane Roe"))
    assert names.text(text) == stored
    assert Names(keep=True).text(text) == text


def test_codes_are_of_the_name_alone():
    assert record_code("Roe/h1") == record_code(record_code("Roe/h1"))
    assert record_code("Roe/h1") != record_code("Doe/h1")
    assert person_code("") == ""
    assert person_code("Roe") == person_code(person_code("Roe")) != person_code("Doe")


def test_records_in_notes_are_called_as_they_are_stored():
    notes = CODED_NAMES.notes(["1 left out: Roe/a is Roe/ab; Roe/ab"], ["Roe/a", "Roe/ab"])
    assert notes == (f"1 left out: {record_code('Roe/a')} is {record_code('Roe/ab')}; {record_code('Roe/ab')}",)


def test_windows_keep_what_is_measured():
    windows = simulated("ecg", 2, 1)
    stored = CODED_NAMES.windows(windows)
    np.testing.assert_array_equal(stored.identity, windows.identity)
    assert stored.records == windows.records


def test_folders_of_what_was_given():
    assert names_beside(["/data/Roe/x.csv", None], False).text("left out /data/Roe/x.csv: bad") == "left out x.csv: bad"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A person's folder, of whose recordings one cannot be read, and a table of persons."""
    folder = tmp_path_factory.mktemp("clinic") / "Wilhelmina Quux"
    folder.mkdir()
    torch.save(random_state(layers=1), folder / "own.pth")
    for number in range(3):
        np.save(folder / f"h{number}.npy", ecg.simulate(np.random.default_rng(number), 12.0)[0])
    np.save(folder / "i.npy", np.load(folder / "h0.npy"))
    (folder / "bad.npy").write_bytes(b"no array")
    (folder / "persons.csv").write_text("record,person\nh0,Ottoline Zork\nh1,Ottoline Zork\nh2,Bob 1961-02-03\ni,Eve Zork\n")
    return folder


def scan(folder, out, *more):
    given = ["--data", str(folder), "--persons", str(folder / "persons.csv"), "--out", str(out), *SCAN, *more]
    return run_command("heartlens.analyses.head_scan", [str(folder / "own.pth"), *given])


def everything(out):
    """All text of a result, compressed or not."""
    summary, tally = read_summary(out / "summary.nc"), read_measured(out / "tally.nc")
    parts = [tally.tally.sums, tally.tally.sample, *(twin.sums for twin in tally.twins.values())]
    texts = [str(each.attrs) + str({name: part.values.tolist() for name, part in each.variables.items()}) for each in [summary, *parts]]
    return " ".join([*texts, str(tally.attrs), *(path.read_bytes().decode("latin-1") for path in out.iterdir())])


def test_a_result_names_nobody(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    assert scan(folder, tmp_path / "o", "--quiet") == 0
    text = everything(tmp_path / "o")
    for name in ("Quux", "Ottoline", "Zork", "1961-02", "Eve Zork", str(folder), str(folder.parent)):
        assert name not in text, text[max(text.index(name) - 200, 0) : text.index(name) + 50]
    assert person_code("Ottoline Zork") in text
    summary = read_summary(tmp_path / "o" / "summary.nc")
    assert (summary.attrs["n_persons"], summary.attrs["n_records"]) == (2, 3)
    assert "bad.npy" in summary.attrs["data_notes"]


def test_names_are_kept_where_that_is_asked_for_and_the_two_do_not_mix(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    assert scan(folder, tmp_path / "o", "--quiet", "--keep-names") == 0
    text = everything(tmp_path / "o")
    assert "Ottoline Zork" in text
    assert str(folder / "h1.npy") in text
    assert re.search(r"own.pth'? '?/", read_summary(tmp_path / "o" / "summary.nc").attrs["command"])
    (tmp_path / "more").mkdir()
    np.save(tmp_path / "more" / "h9.npy", ecg.simulate(np.random.default_rng(9), 12.0)[0])
    more = ["--data", str(tmp_path / "more"), "--add", str(tmp_path / "o" / "tally.nc"), "--out", str(tmp_path / "p"), *SCAN, "--quiet"]
    assert run_command("heartlens.analyses.head_scan", [str(folder / "own.pth"), *more]) == 2
    assert "differ in names (kept and coded)" in capsys.readouterr().err


@pytest.mark.parametrize("keeps", [False, True])
def test_what_python_measures_names_nobody_either(folder, keeps):
    """As `--keep-names` decides for commands: of windows in memory, and of a source of recordings."""
    given = {"rate_hz": 100.0, "kind": "ecg", "persons": folder / "persons.csv"}
    model, scan = hl.load(folder / "own.pth"), hl.HeadScan(n_twins=0, n_rotations=1)
    source = Files((str(folder),), kind="ecg", rate_hz=100.0, persons=str(folder / "persons.csv"))
    for data in (hl.read(folder, **given), source):
        measured = measure(scan, model, data, keep_names=keeps)
        summary = hl.run(scan, model, data, quiet=True, keep_names=keeps)
        text = str([measured.attrs, measured.tally.records, measured.tally.persons, summary.attrs, summary.coords])
        assert all((name in text) == keeps for name in ("Ottoline", "Zork", "Wilhelmina", "Quux", "1961-02-03"))
        assert measured.attrs["names"] == ("kept" if keeps else "coded")
        assert len(set(measured.tally.persons)) == 2
