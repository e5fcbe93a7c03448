"""The methods paragraph holds the numbers of its result and cites what it names; `heartlens methods` refuses what is no result."""

import json
import re

import pytest
from planted import model_of, random_state

import heartlens as hl
from heartlens.__main__ import main as heartlens_command
from heartlens.methods import run_command
from heartlens.models.origin import Origin
from heartlens.paragraph import BIBTEX, bibtex, paragraph
from heartlens.signals.simulate import simulated
from heartlens.store import write_measured, write_summary

SCAN = hl.HeadScan(n_rotations=4, n_permutations=99, n_twins=3, twin_windows=2, seed=7)


@pytest.fixture(scope="module")
def summary():
    model = model_of(random_state())
    model.origin = Origin("my-own.pth", "ecg", None, "a" * 64, "f" * 64, "MIT", "", "none")
    return hl.run(SCAN, model, simulated("ecg", 9, 1))


@pytest.fixture
def result(summary, tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    write_summary(summary, folder / "summary.nc")
    return folder


def test_it_holds_the_numbers_of_the_result(summary):
    text = paragraph(SCAN.findings(summary), summary)
    versions = json.loads(summary.attrs["versions"])
    for promised in (
        "my-own.pth (next-token prediction",
        f"SHA-256 of the file {'a' * 64}",
        f"of the tensors {'f' * 64}",
        "9 windows of 500 tokens (5 s at 100 Hz) of 9 records: simulated ECG",
        "99 times; one-sided; Benjamini-Hochberg [benjamini1995]",
        "; twins: 3)",
        "smallest effect of interest: 0.25 from it",
        "null value: 1;",
        "seed 7",
        f"PyTorch {versions['torch']}",
        f"TransformerLens {versions['transformer-lens']} [nanda2022transformerlens]",
        "[davies2024heartgpt]",
    ):
        assert promised in text, promised
    assert "\n" not in text


def test_it_tells_what_was_read_of_recordings(summary):
    read = {"kind": "ecg", "source": "Files", "lead": "ii", "landmarks": "expert", "bandpass": True, "rate_hz": None, "max_windows": 4}
    attrs = {
        "data_is_simulated": 0,
        "data_options": json.dumps(read),
        "n_persons": 8,
        "n_units": 8,
        "data_skipped": "2 x noise\n1 x lead off",
    }
    text = paragraph(SCAN.findings(summary), summary.assign_attrs(attrs))
    assert "of 8 persons (9 records) (ECG; lead: ii; landmarks: expert; bandpass; max windows: 4; SHA-256 of all windows" in text
    assert "the unit of all statistics are persons. Left out: 2 x noise; 1 x lead off." in text
    alone = paragraph(SCAN.findings(summary), summary.assign_attrs(attrs | {"n_persons": 0, "n_units": 9}))
    assert "recordings, as no persons are known" in alone


def test_defaults_of_reading_are_not_told_and_a_name_makes_no_model_embedded(summary):
    read = {"kind": "ecg", "source": "Files", "landmarks": "auto", "polarity": "check"}
    attrs = {"data_is_simulated": 0, "data_options": json.dumps(read)}
    for name, is_embedded in (("ecg-sim-ludb.safetensors", False), ("ecg-sim", True)):
        own = summary.assign_attrs(summary.attrs | attrs | {"checkpoint": name})
        text = paragraph(SCAN.findings(own), own)
        assert "polarity" not in text
        assert ("trained on simulated signals alone" in text) == is_embedded


def test_edits_and_processing_are_named(summary):
    edited = summary.assign_attrs(edits="without heads [(0, 1)]", checkpoint_processing="fold_ln")
    text = paragraph(SCAN.findings(summary), edited)
    assert "Edits of the model were in force: without heads [(0, 1)]." in text
    assert "with weights processed (fold_ln)" in text


def test_it_cites_what_it_names_and_nothing_else(summary):
    text = paragraph(SCAN.findings(summary), summary)
    cited = re.findall(r"\[([a-z]+[0-9]*[a-z]*)\]", text)
    entries = bibtex(text, summary.attrs)
    assert re.findall(r"^@\w+\{(\w+),", entries, flags=re.MULTILINE) == list(dict.fromkeys(cited))
    assert f"version = {{{hl.__version__}}}" in entries


@pytest.mark.parametrize("key", BIBTEX)
def test_entries_are_whole(key):
    entry = BIBTEX[key]
    assert entry.startswith("@")
    assert f"{{{key},\n" in entry
    assert entry.count("{") == entry.count("}")
    assert {"title", "author", "year"} <= set(re.findall(r"(\w+) = \{", entry))


def test_the_command_prints_both(result, capsys):
    assert run_command([str(result)]) == 0
    whole = capsys.readouterr().out
    assert run_command([str(result / "summary.nc"), "--bibtex"]) == 0
    entries = capsys.readouterr().out
    assert run_command([str(result), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert whole == f"{plain['paragraph']}\n\n{plain['bibtex']}\n"
    assert entries == plain["bibtex"] + "\n"


def test_it_is_one_of_the_commands(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["heartlens"])
    with pytest.raises(SystemExit):
        heartlens_command()
    assert re.search(r"methods +The methods paragraph", capsys.readouterr().out)


def test_what_is_no_result_is_refused_in_one_line(result, summary, tmp_path, capsys):
    (tmp_path / "text.nc").write_text("no netCDF")
    write_summary(summary.assign_attrs(analysis="Nothing"), tmp_path / "other.nc")
    measured = hl.analysis.measure(hl.HeadScan(n_twins=0), model_of(random_state()), simulated("ecg", 1, 1))
    write_measured(measured, tmp_path / "tally.nc")
    for given, words in (
        (tmp_path / "missing", "no such file or folder"),
        (tmp_path, f"holds no summary.nc; these folders in it do: {result}"),
        (tmp_path / "text.nc", "text.nc"),
        (tmp_path / "other.nc", "an analysis 'Nothing', which this version does not have"),
        (tmp_path / "tally.nc", "holds no summary"),
    ):
        assert run_command([str(given)]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert words in told.err
        assert told.err.count("\n") == 1
