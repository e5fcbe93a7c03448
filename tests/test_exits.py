"""Every end of a command: its code, one line, and no traceback, whatever becomes of its streams and whenever it is asked to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import heartlens
from heartlens.exits import FAILURE, INTERRUPTED, USAGE, exit_code, keeping
from heartlens.refusal import Failure, Refusal

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(heartlens.__file__).parents[1]), "HEARTLENS_OFFLINE": "1"}
WAITING = """
import sys, time
from heartlens.exits import leave
def command():
    print("ready", file=sys.stderr, flush=True)
    while True: time.sleep(0.01)
leave(command)
"""
TALKING = """
import sys
from heartlens.exits import leave
def command():
    print("\\u00b5V \\udcff")
    print("said", file=sys.stderr)
    return 0
leave(command)
"""


def shelled(command, folder, environment):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=environment, cwd=folder)


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Refusal("bad\nfile \x1b[31m"), USAGE, "heartlens: bad file \\x1b[31m"),
        (Failure("another run"), FAILURE, "heartlens: another run"),
        (KeyboardInterrupt(), INTERRUPTED, "heartlens: interrupted; nothing was written"),
        (KeyboardInterrupt("2 are kept"), INTERRUPTED, "heartlens: interrupted; 2 are kept"),
        (OSError(28, "No space left on device", "o/x"), FAILURE, "heartlens: o/x: No space left on device"),
        (MemoryError(), FAILURE, "heartlens: there is too little memory; ask for less at once"),
    ],
)
def test_ends_in_one_line(error, code, line, capsys):
    assert exit_code(raising(error)) == code
    assert capsys.readouterr().err == line + "\n"


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)


def test_an_interruption_that_a_library_turns_into_an_error_is_one(capsys):
    def command():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            raise ImportError("half imported") from None

    assert exit_code(command) == INTERRUPTED
    assert capsys.readouterr().err == "heartlens: interrupted; nothing was written\n"


def test_an_interruption_that_is_swallowed_is_told(capsys):
    def command():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            return 0

    assert exit_code(command) == INTERRUPTED
    assert "interrupted after everything was written" in capsys.readouterr().err


def test_a_second_request_does_not_cut_saving_short(capsys):
    def command():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            kept.append("saved")

    kept = []
    assert exit_code(command) == INTERRUPTED
    assert kept == ["saved"]


def test_what_is_kept_is_said(capsys):
    def command():
        with keeping(lambda: "the last save is kept"):
            raise KeyboardInterrupt

    assert exit_code(command) == INTERRUPTED
    assert capsys.readouterr().err == "heartlens: interrupted; the last save is kept\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_process_in_one_line(number):
    heard = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731  # `nohup make test` has a hang-up ignored
    process = subprocess.Popen([sys.executable, "-c", WAITING], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, preexec_fn=heard)
    assert process.stderr.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == "heartlens: interrupted; nothing was written\n"
    assert process.returncode == INTERRUPTED


@pytest.mark.parametrize("delay_s", [0.15, 0.4, 0.8])
def test_a_signal_while_a_command_is_imported(delay_s, tmp_path):
    """Python itself must have started (some 0.1 s); later it may have got as far as the refusal."""
    command = [sys.executable, "-m", "heartlens.analyses.head_scan", "ecg", "--data", "nowhere"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=tmp_path)
    time.sleep(delay_s)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert (process.returncode, told.count("\n")) in ((INTERRUPTED, 1), (USAGE, 1), (-signal.SIGTERM, 0))
    assert "Traceback" not in told


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&- <&-", "| head -c 0", "> /dev/null"])
def test_streams_that_are_closed_or_plain(shell, tmp_path):
    (tmp_path / "command.py").write_text(TALKING)
    ascii_only = ENVIRONMENT | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = shelled(f"{sys.executable} command.py {shell}", tmp_path, ascii_only)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert done.returncode == 0


def test_output_that_does_not_fit_is_one_line(tmp_path):
    (tmp_path / "command.py").write_text(TALKING)
    done = shelled(f"{sys.executable} command.py > /dev/full", tmp_path, ENVIRONMENT)
    assert done.returncode == FAILURE
    assert done.stderr.splitlines()[-1] == "heartlens: No space left on device"
