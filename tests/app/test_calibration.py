"""Calibration on labelled recordings: the curve and threshold of `heartlens classify --labels`, and both on the screen."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from asking import Asker

from heartlens.app.tabs import House
from heartlens.signals.simulate.recording import simulated_csv
from heartlens.tasks.classify import run_command

N_EACH = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Simulated recordings with and without atrial fibrillation, and one that the labels do not know."""
    folder = tmp_path_factory.mktemp("recordings")
    for rhythm, letter in (("sinus", "N"), ("af", "A")):
        for number in range(N_EACH):
            (folder / f"{letter}{number}.csv").write_text(simulated_csv("ecg", rhythm, seed=number + 1, duration_s=16))
    (folder / "unlabelled.csv").write_text(simulated_csv("ecg", "sinus", seed=9, duration_s=16))
    return folder


@pytest.fixture(scope="module")
def labels(folder, tmp_path_factory):
    """Their labels; one of them neither."""
    rows = [f"{name.stem},{'O' if name.stem == 'N3' else name.stem[0]}" for name in sorted(folder.glob("[AN]?.csv"))]
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    path.write_text("\n".join(["record,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def expected(folder, labels, tmp_path_factory):
    """What the command stores of the same recordings and labels."""
    out = tmp_path_factory.mktemp("out")
    options = ["--labels", str(labels), "--classes", "N,A", "--leave-out", "O", "--out", str(out / "result"), "--quiet"]
    assert run_command(["ecg-sim-af", str(folder), *options]) == 0
    with xr.open_dataset(out / "result" / "summary.nc", engine="h5netcdf") as stored:
        return stored.load()


@pytest.fixture(scope="module")
def house(folder, tmp_path_factory):
    own = House((str(folder),), "ecg-sim-af", tmp_path_factory.mktemp("out"))
    yield own
    own.close()


def finished(tab, job):
    """The last look at a calibration."""
    while True:
        answer = tab.ask("arrhythmia", "calibrated", job=job)
        if answer["is_over"]:
            return answer


def test_the_calibration_is_that_of_the_command(client, labels, expected):
    tab = Asker(client, "ecg-sim-af")
    upload = tab.upload(("labels.csv", labels.read_bytes())).json()["upload"]
    assert tab.ask("arrhythmia", "labels", upload=upload)["labels"] == {"A": 4, "N": 3, "O": 1}
    begun = tab.ask("arrhythmia", "calibrate", upload=upload, classes=["N", "A"])
    assert begun["n_records"] == 7
    assert begun["command"].endswith("--labels labels.csv --classes N,A --leave-out O")
    answer = finished(tab, begun["job"])
    assert expected["calibration"].sel(part="count").sum() == 7
    for part in ("predicted", "observed", "count"):
        shown = np.array([np.nan if value is None else value for value in answer[part]])
        np.testing.assert_allclose(shown, expected["calibration"].sel(part=part), atol=1e-6)
    assert answer["threshold"] == pytest.approx(expected.attrs["threshold"], abs=1e-6)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"classes": ["N", "N"]}, "choose two different labels"),
        ({"classes": ["N", "X"]}, "no record is labelled X"),
        ({"classes": ["N", "A"], "upload": "guessed"}, "not there any more"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(client, house, labels, question, reason):
    tab = Asker(client, "ecg-sim-af")
    upload = tab.upload(("labels.csv", labels.read_bytes())).json()["upload"]
    refusal = tab.refusal("arrhythmia", "calibrate", **{"upload": upload} | question)
    assert reason in refusal
    assert str(house.folder) not in refusal


def test_without_recordings_there_is_nothing_to_calibrate_on(labels, tmp_path):
    from asking import client_of

    house = House((), "ecg-sim-af", tmp_path)
    with client_of(house) as client:
        tab = Asker(client, "ecg-sim-af")
        upload = tab.upload(("labels.csv", labels.read_bytes())).json()["upload"]
        assert "heartlens app recordings/" in tab.refusal("arrhythmia", "calibrate", upload=upload, classes=["N", "A"])


@pytest.fixture(scope="module")
def address(folder, tmp_path_factory):
    """The address of an app with these recordings."""
    command = [sys.executable, "-m", "heartlens", "app", str(folder), "--model", "ecg-sim-af", "--offline", "--quiet"]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path_factory.mktemp("app"), env=environment) as process:
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.wait(60) == 0


def test_the_calibration_is_drawn_from_a_table_of_labels(page, labels, expected):
    page.view("arrhythmia", "heartlens.view.result && heartlens.view.recording.windows.start_s.length")
    page.click("#view button:has-text('calibration')")
    assert "no calibration curve" in page.inner_text("#view")
    page.set_input_files("#view input[type=file]", str(labels))
    page.until("document.querySelector('#view select[aria-label=\"label with the condition\"]')")
    page.select_option("#view select[aria-label='label without the condition']", "N")
    page.select_option("#view select[aria-label='label with the condition']", "A")
    page.click("#view button:has-text('Calibrate')")
    page.until("heartlens.view.recording.calibration.curve")
    shown = page.evaluate("heartlens.view.recording.calibration.curve.observed")
    stored = expected["calibration"].sel(part="observed").values
    assert [None if np.isnan(value) else pytest.approx(value) for value in stored] == shown
    assert "Brier score" in page.inner_text("#view")
    page.click("#view button:has-text('as threshold')")
    assert float(page.input_value("#view input[aria-label=threshold]")) == pytest.approx(expected.attrs["threshold"], abs=1e-4)
