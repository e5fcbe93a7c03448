"""AF probabilities of recordings whose labels do not match, and of recordings that have no window."""

import numpy as np
import pytest

from heartlens.tasks import classify


def test_labels_that_match_nothing_are_told_and_those_of_a_copy_are_its_recordings(recordings, tmp_path, capsys):
    np.save(recordings / "q.npy", np.load(recordings / "p0.npy"))
    labelled = ["--labels", str(tmp_path / "labels.csv"), "--classes", "N,A", "--format", "svg"]
    given = ["ecg-sim-af", str(recordings), "--rate", "100", *labelled, "--out", str(tmp_path / "out")]
    (tmp_path / "labels.csv").write_text("record,label\nq,N\np1,A\nghost,A\n")
    assert classify.run_command(given) == 3
    verdict = capsys.readouterr().out
    assert "chosen on 2 labelled recordings" in verdict
    assert "1 labels match no record (ghost)" in verdict
    (tmp_path / "labels.csv").write_text("record,label\np0,N\nq,A\np1,A\n")
    assert classify.run_command([*given, "--overwrite"]) == 2
    assert "q is labelled A and " in (refusal := capsys.readouterr().err)
    assert "both are the same recording" in refusal
    (tmp_path / "labels.csv").write_text("record,label\nghost,A\nother,N\n")
    assert classify.run_command([*given, "--overwrite"]) == 2
    assert "--partial" not in capsys.readouterr().err


@pytest.mark.parametrize(("n_samples", "is_flat", "reason"), [(3000, True, "s; the recording lasts 30.00 s"), (240, False, "lasts 2.40 s")])
def test_a_recording_without_a_window_says_what_is_lost(recordings, tmp_path, n_samples, is_flat, reason, capsys):
    samples = np.load(recordings / ("flat.npy" if is_flat else "p0.npy"))[:n_samples]
    np.save(tmp_path / "short.npy", samples)
    assert classify.run_command(["ecg-sim-af", str(tmp_path / "short.npy"), "--rate", "100", "--out", str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err
