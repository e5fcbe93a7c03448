"""Two fine-tunings compared: scores of windows not learnt from, their difference paired by person, or one line that says why not."""

import csv
import io

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from heartlens.__main__ import run as heartlens
from heartlens.comparison import compared_records
from heartlens.store import write_summary

PERSONS = [f"person-{number:012x}" for number in range(10)]


def result(folder, columns, rows, source="cross-validated", figure="window AUC", **attrs):
    """The folder of a fine-tuning, as far as comparing reads it."""
    folder.mkdir()
    named = {"task": "af", "classes": "N, A", "checkpoint": "x", "options": "{}", "versions": "1"} | attrs
    coordinates = {"source": [source], "figure": [figure]} | ({"number": ["hr"]} if "hr_bpm" in columns else {})
    write_summary(
        xr.Dataset({"estimate": (tuple(coordinates), np.zeros([1] * len(coordinates)))}, coordinates, named), folder / "summary.nc"
    )
    with (folder / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return str(folder)


def classified(folder, probability, label="NA" * 5, **how):
    rows = [[f"r{n}", person, "0.000", label[n], f"{probability[n]:.6f}"] for n, person in enumerate(PERSONS)]
    return result(folder, ["record", "person", "start_s", "label", "probability A"], rows, **how)


def compared(capsys, *given):
    assert heartlens(["compare", *given]) == 0
    out, err = capsys.readouterr()
    return {row["readout"]: row for row in csv.DictReader(io.StringIO(out))}, err


def test_scores_are_paired_by_person(tmp_path, capsys):
    rng, true = np.random.default_rng(0), np.array([0, 1] * 5)
    a, b = rng.uniform(0.05, 0.95, 10).round(6), rng.uniform(0.05, 0.95, 10).round(6)
    rows, err = compared(capsys, classified(tmp_path / "a", a), classified(tmp_path / "b", b))
    by_hand = {
        "Brier score": [(each - true) ** 2 for each in (a, b)],
        "log loss": [-np.log(np.where(true == 1, each, 1 - each)) for each in (a, b)],
        "accuracy at 0.5": [((each >= 0.5) == true).astype(float) for each in (a, b)],
    }
    assert set(rows) == set(by_hand)
    for name, (first, second) in by_hand.items():
        interval = stats.ttest_rel(second, first).confidence_interval()
        expected = [first.mean(), second.mean(), (second - first).mean(), interval.low, interval.high]
        assert [float(rows[name][column]) for column in ("a", "b", "difference", "low", "high")] == pytest.approx(expected, rel=1e-4)
    assert "10 and 10 persons or records, 10 of them in both (paired)" in err


def test_errors_of_numbers_are_paired_by_person_whatever_records_they_have(tmp_path, capsys):
    columns = ["record", "person", "start_s", "hr_bpm_true", "hr_bpm", "hr_bpm_low", "hr_bpm_high"]
    errors = np.random.default_rng(1).normal(size=(2, 10))
    folders = [
        result(
            tmp_path / name,
            columns,
            [
                [f"r{n}{k}", PERSONS[n], "0.000", "60", f"{60 + error[n] + shift}", "", ""]
                for n in range(10)
                for k, shift in ((0, -1), (1, 1))
            ],
            units="bpm",
            task="hr_bpm",
        )
        for name, error in zip("ab", errors, strict=True)
    ]
    rows, _ = compared(capsys, *folders)
    interval = stats.ttest_rel(errors[1], errors[0]).confidence_interval()
    expected = [errors[0].mean(), errors[1].mean(), (errors[1] - errors[0]).mean(), interval.low, interval.high]
    assert [float(rows["hr_bpm error"][column]) for column in ("a", "b", "difference", "low", "high")] == pytest.approx(expected, rel=1e-4)
    assert "hr_bpm absolute error" in rows


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"source": "validation records (they chose stop and threshold)"}, "--folds 2 or more"),
        ({"classes": "N, O"}, "answer the same question"),
        ({"figure": "event f1"}, "at every token"),
        ({"label": "AA" * 5}, "label of r0 is N in"),
    ],
)
def test_what_is_not_compared(tmp_path, capsys, other, expected):
    a, b = classified(tmp_path / "a", [0.5] * 10), classified(tmp_path / "b", [0.5] * 10, **other)
    assert heartlens(["compare", a, b]) == 2
    assert expected in capsys.readouterr().err


def test_a_table_that_was_lost_or_changed_is_said(tmp_path, capsys):
    a, b = classified(tmp_path / "a", [0.5] * 10), classified(tmp_path / "b", [0.5] * 10)
    (tmp_path / "b/predictions.csv").write_text((tmp_path / "b/predictions.csv").read_text().replace("0.500000", "half", 1))
    assert heartlens(["compare", a, b]) == 2
    assert "no number" in capsys.readouterr().err
    (tmp_path / "b/predictions.csv").unlink()
    assert heartlens(["compare", a, b]) == 2
    assert "holds no predictions.csv" in capsys.readouterr().err


def test_a_person_of_two_records_counts_with_their_mean():
    """Of tables by record the effect is a mean over persons: 0.2 and 0.4 of one person are 0.3, not 0.6."""
    table = xr.Dataset(
        {"probability": ("record", [0.2, 0.4, 0.9])}, coords={"record": ["r0", "r1", "r2"], "person": ("record", ["p", "p", "q"])}
    )
    assert float(compared_records(table, table)["probability_a"]) == pytest.approx(0.6)
