"""What the views answer: the published reference numbers, the package's own, and what the copied Python and command give."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from asking import Asker

from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.models.what_if import what_if
from heartlens.tasks.attention import attention_of

PUBLISHED = {  # the probabilities that the published AF screens show
    "example_context_ECG": ("ecgpt-af-1k", 0.0124),
    "example_context_ECG_AFib1": ("ecgpt-af-1k", 0.9914),
    "example_context_PPG": ("ppgpt-af-1k", 0.0110),
    "example_context_PPG_AFib": ("ppgpt-af-1k", 0.9693),
    "example_context_PPG_AFib3": ("ppgpt-af-1k", 0.9867),
}


@pytest.fixture(scope="module")
def tab(client):
    own = Asker(client)
    own.ask("signal", "open", example="simulated ECG, sinus rhythm")
    return own


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_probabilities(client, shared, name):
    model, probability = PUBLISHED[name]
    kind = model[:3]
    own = Asker(client)
    text = (shared / f"heartgpt/Example_inputs/{name}.csv").read_bytes()
    upload = own.upload((f"{name}.csv", text)).json()["upload"]
    rate_hz = {"ecg": 100, "ppg": 50}[kind]
    recording = own.ask("signal", "open", upload=upload, kind=kind, rate_hz=rate_hz, polarity="as-is")
    start_s = recording["starts_s"][-1][1]  # the published programs take the last 500 samples
    answer = own.ask("arrhythmia", "answer", model=model, start_s=start_s, stack=[])
    assert 1 / (1 + np.exp(-answer["before"])) == pytest.approx(probability, abs=6e-5)


def test_a_what_if_is_the_packages(tab, house):
    stack = ["P:0", "f_waves:2", "ablate:L2H3"]
    answer = tab.ask("arrhythmia", "answer", model="ecg-sim-af", start_s=3.1, stack=stack)
    shams = tab.ask("arrhythmia", "shams", model="ecg-sim-af", start_s=3.1, stack=stack)
    expected = what_if(subject_of(load("ecg-sim-af")), house.tab(tab.key).strip.window_at(3.1), stack)
    assert [answer["before"], answer["after"], shams["sham"]] == pytest.approx([expected.before, expected.after, expected.sham], abs=1e-5)
    assert answer["window"]["tokens"] == expected.windows.tokens[0].tolist()


def test_a_what_if_without_a_sham_says_why(tab):
    stack = [f"ablate:MLP{layer}" for layer in range(1, subject_of(load("ecg-sim-af")).sizes.n_layers + 1)]
    asked = {"model": "ecg-sim-af", "start_s": 3.1, "stack": stack}
    shams = tab.ask("arrhythmia", "shams", **asked)
    assert shams["sham"] is None
    assert all("are not left for a sham" in why for why in shams["why_no_sham"])
    table = tab.post("arrhythmia", "data", **asked).text
    assert "sham of all,,,," in table


def test_the_tabs_own_folder_is_not_named(tab):
    description = tab.ask("signal", "described")
    assert [description["key"], *description["names"]] == ["simulated-ecg-sinus"] * 2


def test_the_probabilities_over_the_recording_come_in_parts(tab):
    first = tab.ask("arrhythmia", "chances", model="ecg-sim-af", first=0)
    assert first["n_windows"] == len(first["probability"]) == 12
    rest = tab.ask("arrhythmia", "chances", model="ecg-sim-af", first=7)
    assert rest["probability"] == pytest.approx(first["probability"][7:], abs=1e-5)
    alone = tab.ask("arrhythmia", "answer", model="ecg-sim-af", start_s=first["start_s"][4], stack=[])
    assert alone["before"] == pytest.approx(first["logit"][4], abs=1e-4)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"stack": ["Q:0"]}, "is no edit"),
        ({"stack": "P:0"}, "no list of edits"),
        ({"stack": [], "model": "ecg-sim"}, "ecg-sim has no task head that gives one answer for a window"),
        ({"stack": [], "model": "ppg-sim-af"}, "ppg-sim-af reads PPG, and"),
        ({"stack": [], "model": "/etc/passwd"}, "unknown model"),
        ({"stack": [], "start_s": 9999}, "a window cannot begin at 9999 s"),
        ({"stack": [], "start_s": "1"}, "start_s is '1'; a number is legal"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(tab, question, reason):
    assert reason in tab.refusal("arrhythmia", "answer", **{"model": "ecg-sim-af", "start_s": 0.0} | question)


def test_the_map_is_the_packages_attention(tab, house):
    response = tab.post("attention", "map", model="ecg-sim-af", start_s=2.0, layer=3, head=1)
    shown = np.frombuffer(response.content, "<f4").reshape(500, 500)
    tokens = house.tab(tab.key).strip.window_at(2.0).tokens[0]
    assert np.allclose(shown, attention_of(subject_of(load("ecg-sim-af")), tokens)[3, 1], atol=1e-6)
    change = np.frombuffer(tab.post("attention", "map", model="ecg-sim-af", start_s=2.0, layer=3, head=1, which="change").content, "<f4")
    base = np.frombuffer(tab.post("attention", "map", model="ecg-sim-af", start_s=2.0, layer=3, head=1, which="base").content, "<f4")
    assert np.allclose(shown.ravel() - base, change, atol=1e-6)


@pytest.mark.parametrize(
    ("view", "question", "file", "number"),
    [
        (
            "attention",
            {"layer": 3, "head": 2, "token": 420},
            "out/attention-ecg-sim-af/summary.nc",
            lambda stored: float(stored["row"].max()),
        ),
        (
            "attention",
            {"layer": 3, "head": 2, "token": 420, "stack": ["P@2:0", "ablate:L2H1", "ablate:L4H1"]},
            "out/attention-ecg-sim-af/summary.nc",
            lambda stored: float(stored["row"].max()),
        ),
        (
            "attention",
            {"layer": 3, "head": 2, "token": 420, "stack": ["beat:2:-0.1", "ablate:MLP1"], "which": "change"},
            "out/attention-ecg-sim-af/summary.nc",
            lambda stored: float(stored["row"].max()),
        ),
        (
            "arrhythmia",
            {"stack": ["P@3:0", "beat:2:-0.1"]},
            "out/what_if-ecg-sim-af/summary.nc",
            lambda stored: stored.attrs["logit_after"],
        ),
    ],
)
def test_the_copied_command_and_python_give_the_numbers_on_the_screen(tab, tmp_path, monkeypatch, capsys, view, question, file, number):
    asked = {"model": "ecg-sim-af", "start_s": 3.1} | question
    code = tab.ask(view, "code", **asked)
    program = code["command"].replace("heartlens ", f"{sys.executable} -m heartlens ").replace("python -c", f"{sys.executable} -c")
    subprocess.run(program, shell=True, check=True, cwd=tmp_path, capture_output=True)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(code["python"], "copied", "exec"), {})
    printed = capsys.readouterr().out
    if view == "attention":
        shown = np.frombuffer(tab.post(view, "map", **asked).content, "<f4").reshape(500, 500)[420].max()
    else:
        shown = tab.ask(view, "answer", **asked)["after"]
    with xr.open_dataset(tmp_path / file, engine="h5netcdf") as stored:
        assert number(stored) == pytest.approx(shown, abs=1e-5)
    assert any(float(word) == pytest.approx(shown, abs=1e-5) for word in printed.split())


def test_what_is_said_of_a_recording_is_told_and_copied(client, tmp_path, monkeypatch, capsys):
    own = Asker(client)
    choices = {"polarity": "invert", "person": 'No. 12, "left"', "unit": "uV"}
    opened = own.ask("signal", "open", example="simulated ECG, sinus rhythm", **choices)
    assert {name: opened["hints"][name] for name in choices} == choices
    assert (opened["person"], opened["unit"]) == (choices["person"], choices["unit"])
    asked = {"model": "ecg-sim-af", "start_s": 3.1, "stack": ["T:0.5"]}
    shown, code = own.ask("arrhythmia", "answer", **asked)["after"], own.ask("arrhythmia", "code", **asked)
    program = code["command"].replace("heartlens ", f"{sys.executable} -m heartlens ").replace("python -c", f"{sys.executable} -c")
    subprocess.run(program, shell=True, check=True, cwd=tmp_path, capture_output=True)
    with xr.open_dataset(tmp_path / "out/what_if-ecg-sim-af/summary.nc", engine="h5netcdf") as stored:
        assert stored.attrs["logit_after"] == pytest.approx(shown, abs=1e-5)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(code["python"] + "print(strip.person, strip.unit)\n", "copied", "exec"), {})
    printed = capsys.readouterr().out
    assert f"{choices['person']} {choices['unit']}" in printed
    assert any(_is_near(word, shown) for word in printed.split())
    assert "unit is no text of at most 40 letters" in own.refusal("signal", "open", unit="m" * 41)


def _is_near(word, shown):
    try:
        return float(word) == pytest.approx(shown, abs=1e-5)
    except ValueError:
        return False
