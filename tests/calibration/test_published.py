"""The published trial (docs/calibration.json, docs/calibration.md) is of the code's rules and corpora."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from test_small_trial import TRIED, small, subject, windows

import heartlens
from heartlens.analysis import Twinned, run
from heartlens.trial import simulations, trial_of
from heartlens.trial.__main__ import main
from heartlens.trial.published import Corpus, analyses, page, passes, rules_of, stale, stored, write

DOCS = Path(heartlens.__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def rules():
    """The fingerprint of every rule that the code has, by the class of its analysis: read off a summary, whatever it answers."""
    by_part = {}
    for name in TRIED:
        analysis = small(analyses()[name])
        trial = trial_of(analysis)
        few = replace(analysis, n_twins=1) if isinstance(analysis, Twinned) else analysis
        by_part[type(analysis).__name__] = rules_of(analysis, run(few, subject(trial.needs), windows(trial.rhythm)[:2]))
    return by_part


@pytest.fixture(scope="module")
def corpora():
    rhythms = sorted({trial_of(analyses()[name]()).rhythm for name in TRIED})
    described = [Corpus(rhythm=rhythm).described(kind) for kind, rhythm in product(("ecg", "ppg"), rhythms)]
    return {each["corpus"]: each["corpus_sha256"] for each in described}


def test_the_published_trial_is_of_the_codes_rules_and_corpora(rules, corpora):
    assert stale(stored(DOCS), rules, corpora) == []


def test_the_parts_that_need_no_model_are_the_codes():
    """They take seconds, so they are made anew: another interval or another test gives other rates."""
    assert [row for row in stored(DOCS) if row["part"] == simulations.PART] == simulations.simulated_rows()


def test_the_page_is_made_of_the_numbers():
    assert (DOCS / "calibration.md").read_text(encoding="utf-8") == page(stored(DOCS))


ROW = {"part": "Scan", "rule": "attends", "fingerprint": "a1", "what": "false yes", "models": "shuffled", "n_yes": 3, "n": 60, "rate": 0.05}
ROW |= {"low": 0.01, "high": 0.14, "corpus": "simulated ecg", "corpus_sha256": "f0", "n_persons": 25, "n_windows": 25, "seeds": "1"}


def test_another_rule_another_corpus_and_an_untried_rule_are_stale():
    corpora = {"simulated ecg": "f0"}
    assert stale([ROW], {"Scan": {"attends": "a1"}}, corpora) == []
    assert stale([ROW], {"Scan": {"attends": "a2"}}, corpora) == ["Scan attends is of another rule; run `make calibrate`"]
    assert stale([ROW], {"Scan": {"attends": "a1", "moves": "b1"}}, corpora) == ["Scan moves has not been tried; run `make calibrate`"]
    assert "another corpus" in stale([ROW], {}, {"simulated ecg": "f1"})[0]
    assert "another corpus" in stale([ROW], {}, {})[0]


@pytest.mark.parametrize(
    ("low", "high", "is_passed"), [(0.01, 0.09, True), (0.01, 0.14, False), (0.051, 0.09, False)], ids=["both", "upper end", "lower end"]
)
def test_a_false_yes_rate_must_reach_both_ends(low, high, is_passed):
    assert passes(ROW | {"low": low, "high": high}) == is_passed


def test_a_new_trial_replaces_the_rows_of_its_own_parts(tmp_path):
    other = ROW | {"part": "Other"}
    write([ROW, other], tmp_path)
    write([ROW | {"n_yes": 0}], tmp_path)
    assert [(row["part"], row["n_yes"]) for row in stored(tmp_path)] == [("Other", 3), ("Scan", 0)]
    assert (tmp_path / "calibration.md").read_text(encoding="utf-8") == page(stored(tmp_path))


def test_simulations_of_one_analysis_are_refused(tmp_path, capsys):
    assert main(["--simulations", "--analyses", "head_scan", "--out", str(tmp_path / "docs")]) == 2
    assert "--simulations and --analyses exclude each other" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()
