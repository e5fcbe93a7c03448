"""An output folder: there at once or not at all, one run's at a time, and nothing is removed that this program did not write."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from heartlens import folder as folders
from heartlens.folder import MARKER, Folder
from heartlens.refusal import Failure, Refusal
from heartlens.whole import UNFINISHED, write_whole


def given(path, **files):
    """A result in a folder of its own."""
    with Folder(path) as folder:
        folder.give(lambda beside: [write_whole(text.encode(), beside / name) for name, text in files.items()])


def content(path):
    return {each.relative_to(path).as_posix(): each.read_text() for each in path.rglob("*") if each.is_file() and each.name != MARKER}


def test_a_result_takes_the_place_of_another_whole(tmp_path):
    given(tmp_path / "o", a="1", b="1")
    given(tmp_path / "o", a="2", c="2")
    assert content(tmp_path / "o") == {"a": "2", "c": "2"}
    assert [each.name for each in tmp_path.iterdir()] == ["o"]
    assert json.loads((tmp_path / "o" / MARKER).read_text())["files"] == ["a", "c"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_finished_leaves_the_old_result(tmp_path, failure):
    given(tmp_path / "o", a="1")

    def fill(beside):
        (beside / "a").write_text("half")
        (beside / "below").mkdir()
        (beside / "below" / "b").write_text("half")
        raise failure

    with pytest.raises(type(failure)), Folder(tmp_path / "o") as folder:
        folder.give(fill)
    assert content(tmp_path / "o") == {"a": "1"}
    assert [each.name for each in tmp_path.iterdir()] == ["o"]


def test_a_claim_without_a_result_leaves_no_folder(tmp_path):
    with Folder(tmp_path / "o") as folder:
        folder.claim()
        assert (tmp_path / "o").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_told_of_the_first(tmp_path):
    with Folder(tmp_path / "o") as first, Folder(tmp_path / "o") as second:
        first.claim()
        with pytest.raises(Failure, match="another run is writing into"):
            second.claim()
        with pytest.raises(Failure, match="another run is writing into"), Folder(tmp_path / "o"):
            pass
        first.give(lambda beside: (beside / "a").write_text("first"))
        with pytest.raises(Failure, match="another run has just written its result into"):
            second.give(lambda beside: (beside / "a").write_text("second"))
    assert content(tmp_path / "o") == {"a": "first"}
    assert [each.name for each in tmp_path.iterdir()] == ["o"]


def test_two_runs_without_a_claim_do_not_meet(tmp_path):
    with Folder(tmp_path / "o") as first, Folder(tmp_path / "o") as second:
        first.give(lambda beside: (beside / "a").write_text("first"))
        with pytest.raises(Failure, match="this one changed nothing"):
            second.give(lambda beside: (beside / "a").write_text("second"))
    assert content(tmp_path / "o") == {"a": "first"}


@pytest.mark.parametrize("is_marked", [True, False])
def test_what_is_foreign_is_refused_and_stays(tmp_path, is_marked):
    out = tmp_path / "o"
    if is_marked:
        given(out, a="1")
    for name in ("options.json", "deep/thesis.tex"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    before = content(out)
    for act in (Folder.refuse_foreign, Folder.claim, Folder.clear, lambda folder: folder.give(lambda beside: None)):
        with pytest.raises(Refusal, match=r"deep/thesis\.tex"), Folder(out) as folder:
            act(folder)
    assert content(out) == before


def test_what_is_put_there_during_a_run_stays_and_the_result_lies_beside(tmp_path):
    given(tmp_path / "o", a="1")

    def fill(beside):
        (beside / "a").write_text("2")
        (tmp_path / "o" / "notes").write_text("mine")

    with pytest.raises(Failure, match=r"holds notes, which .*; this result is in .*o\.1"), Folder(tmp_path / "o") as folder:
        folder.give(fill)
    assert content(tmp_path / "o") == {"a": "1", "notes": "mine"}
    assert content(tmp_path / "o.1") == {"a": "2"}


def test_a_forged_or_damaged_marker_owns_nothing(tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    for text in ("", "[]", "{", '{"program": "other", "files": ["a"]}', '{"program": "heartlens", "files": 3}', "[" * 100_000):
        (out / MARKER).write_text(text)
        (out / "a").write_text("mine")
        with pytest.raises(Refusal, match="holds a, which this program did not write"), Folder(out) as folder:
            folder.refuse_foreign()
    (out / MARKER).write_text('{"program": "heartlens", "files": ["../x"], "format": 99}')
    with pytest.raises(Refusal, match="was written in format 99, this version writes 1"), Folder(out) as folder:
        folder.refuse_foreign()


def test_a_marker_names_no_file_outside(tmp_path):
    (tmp_path / "x").write_text("mine")
    given(tmp_path / "o", a="1")
    marker = json.loads((tmp_path / "o" / MARKER).read_text())
    (tmp_path / "o" / MARKER).write_text(json.dumps({**marker, "files": ["a", "../x", str(tmp_path / "x")]}))
    (tmp_path / "o" / "link").symlink_to(tmp_path)
    with pytest.raises(Refusal, match="holds link"):
        given(tmp_path / "o", a="2")
    (tmp_path / "o" / "link").unlink()
    given(tmp_path / "o", a="2")
    assert (tmp_path / "x").read_text() == "mine"


def test_without_a_step_that_exchanges_it_takes_two(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.ctypes, "CDLL", lambda *given, **options: object())
    given(tmp_path / "o", a="1")
    given(tmp_path / "o", a="2")
    assert content(tmp_path / "o") == {"a": "2"}
    assert [each.name for each in tmp_path.iterdir()] == ["o"]


KILLED = """
import os, signal
from pathlib import Path
from heartlens.folder import Folder
def fill(beside):
    (beside / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
with Folder(Path("o")) as folder:
    folder.claim()
    folder.give(fill)
"""


def test_what_a_killed_run_left_beside_is_removed_by_the_next(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(folders.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False, env=environment).returncode == -9
    left = [each.name for each in tmp_path.iterdir() if each.name != "o"]
    assert len(left) == 1
    assert UNFINISHED.fullmatch(left[0])
    (tmp_path / ".o.12345678.partial").mkdir()  # somebody's own
    given(tmp_path / "o", a="1")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".o.12345678.partial", "o"]
    assert content(tmp_path / "o") == {"a": "1"}


def test_a_folder_that_is_a_link_keeps_its_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "o").symlink_to(tmp_path / "real")
    given(tmp_path / "o", a="1")
    assert (tmp_path / "o").is_symlink()
    assert content(tmp_path / "real") == {"a": "1"}


COMMAND = "from heartlens.__main__ import main; main()"
SLOW = """
import sys, time
from pathlib import Path
from heartlens.folder import Folder
give, go = Folder.give, Path(sys.argv.pop())
def late(self, fill):
    (go.parent / "measured").touch()
    while not go.exists():
        time.sleep(0.05)
    give(self, fill)
Folder.give = late
"""


def test_of_two_commands_with_one_folder_one_wins_and_one_says_so(tmp_path):
    """The first is held before its last step, so that the second meets it whatever the machine does."""
    from heartlens.signals.simulate import ecg

    np.save(tmp_path / "in.npy", ecg.simulate(np.random.default_rng(0), 12.0)[0])
    given = ["tokenize", "ecg", "in.npy", "--rate", "100", "--format", "svg", "--out", "o"]
    held = [sys.executable, "-c", SLOW + COMMAND, *given, str(tmp_path / "go")]
    first = subprocess.Popen(held, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "measured").exists():
            assert first.poll() is None
            time.sleep(0.1)
        second = subprocess.run([sys.executable, "-c", COMMAND, *given, "--last"], cwd=tmp_path, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == "heartlens: another run is writing into o; wait for it, or give another --out\n"
        (tmp_path / "go").touch()
        assert "written: o/summary.nc" in first.communicate()[1]
        assert first.returncode == 0
    finally:
        first.kill()
    assert Folder(tmp_path / "o").is_result
    assert json.loads((tmp_path / "o" / MARKER).read_text())["files"] == sorted(
        path.name for path in (tmp_path / "o").iterdir() if path.name != MARKER
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go", "in.npy", "measured", "o"]
