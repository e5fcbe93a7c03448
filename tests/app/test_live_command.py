"""`heartlens live` on the command line, and what it refuses."""

import pytest

from heartlens.app import live
from heartlens.app.live.command import run_command
from heartlens.models.load import load
from heartlens.models.subject import subject_of
from heartlens.refusal import Refusal
from heartlens.signals.simulate import simulated


def test_a_page_tells_simulated_signals(tmp_path):
    page = tmp_path / "page.html"
    assert run_command(["ecg-sim-af", "--simulate", "af", "--out", str(page), "--quiet"]) == 0
    assert "simulated signal" in page.read_text()
    assert "trained on simulated signals only" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["ecg-sim-af"], "give one recording"),
        (["ecg-sim", "--simulate", "sinus"], "no task head that gives one answer"),
        (["ecg-sim-af", "--simulate", "sinus", "--windows", "0"], "--windows is 0"),
        (["ecg-sim-af", "--simulate", "sinus", "--out", "page.pdf"], "ends with .html"),
        (["ecg-sim-af", "missing.csv"], "missing.csv"),
        (["ecg-sim-af", "--simulate", "sinus", "--out", "there.html"], "there already"),
    ],
)
def test_wrong_input_is_refused_in_one_line(arguments, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.html").write_text("mine")
    assert run_command(arguments) == 2
    assert reason in capsys.readouterr().err
    assert (tmp_path / "there.html").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]


def test_windows_that_do_not_fit_are_refused():
    subject = subject_of(load("ecg-sim-af"))
    with pytest.raises(Refusal, match="reads ecg"):
        live.live_page(subject, simulated("ppg", 1, 1))
    with pytest.raises(Refusal, match="one recording"):
        live.live_page(subject, simulated("ecg", 2, 1))
