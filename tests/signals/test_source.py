"""Sources read ahead: the same parts in the same order however many processes read, and what a bad or deadly recording costs."""

import itertools
import os
import pickle
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.files import Files
from heartlens.signals.read import read_all
from heartlens.signals.simulate import ecg, simulated
from heartlens.signals.source import BAD_FILE, NO_WINDOW, Given, Look, Simulated, ahead
from heartlens.windows import concatenate

PROC = Path("/proc")
FIELDS = ("tokens", "record", "start_s", "low", "high", "wave", "segment", "position")


def same(one, other):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    return (one.kind, one.sources, one.skipped, one.notes) == (other.kind, other.sources, other.skipped, other.notes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five recordings of 20 s, one of noise, one that is no recording."""
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(5):
        np.save(folder / f"{number}.npy", ecg.simulate(np.random.default_rng(number), 20.0)[0])
    np.save(folder / "5 noise.npy", np.random.default_rng(9).normal(size=2000))
    (folder / "6 text.csv").write_text("name,place\na,b\n")
    return folder


@dataclass(frozen=True)
class Deadly:
    """A source of which one recording ends the process that reads it, and another has a mistake of ours."""

    kind: str = "ecg"
    home: int = os.getpid()

    def names(self):
        return ["a", "deadly", "b", "c", "refused", "d"]

    def parts(self, name):
        if name == "refused":
            raise Refusal("refused: as it is")
        yield replace(simulated("ecg", 1, 1), record=np.array([name]))
        if name == "deadly" and os.getpid() != self.home:
            os.kill(os.getpid(), 11)
        if name == "mistake":
            raise KeyError("ours")

    def look(self, name):
        return Look(name)

    def without(self, names):
        raise AssertionError(names)


def test_the_parts_are_the_same_whoever_reads(folder):
    source = Files(folder, rate_hz=100, kind="ecg")
    by_workers = [list(ahead(source, n_workers=n)) for n in (0, 1, 3)]
    names = source.names()
    for parts in by_workers:
        assert [part.name for part in parts] == names
        assert all(part.is_last for part in parts)
        assert [part.reason for part in parts] == [""] * 5 + [NO_WINDOW, "file that is no recording"]
        assert [part.refusal for part in parts] == [part.refusal for part in by_workers[0]]
        assert all(same(mine.windows, first.windows) for mine, first in zip(parts[:5], by_workers[0][:5], strict=True))
    windows = read_all(source)
    assert len(windows) == 20
    assert same(
        windows[:], replace(concatenate([part.windows for part in by_workers[1][:5]]), skipped=windows.skipped, notes=windows.notes)
    )


def test_names_can_be_chosen(folder):
    source = Files(folder, rate_hz=100, kind="ecg")
    chosen = [source.names()[3], source.names()[1]]
    assert [part.name for part in ahead(source, chosen, n_workers=2)] == chosen
    assert list(ahead(source, [], n_workers=2)) == []


def test_a_process_that_dies_costs_its_recording_only():
    source = Deadly()
    parts = list(ahead(source, n_workers=2))
    refusals = {part.name: (part.refusal, part.reason) for part in parts if part.refusal}
    assert refusals == {
        "deadly": ("deadly: the process that read it was ended by signal 11 (SIGSEGV)", BAD_FILE),
        "refused": ("refused: as it is", NO_WINDOW),
    }
    assert [name for name, _ in itertools.groupby(part.name for part in parts)] == source.names()
    assert all(part.is_last for part in parts if part.name != "deadly")
    assert read_all(source).records == ["a", "b", "c", "d", "deadly"]  # so short that this process reads it
    with pytest.raises(KeyError, match="ours"):
        list(ahead(source, ["a", "mistake"], n_workers=1))


@dataclass(frozen=True)
class Endless:
    """Recordings of more parts than any memory holds."""

    kind: str = "ecg"

    def names(self):
        return [f"{number}" for number in range(10**6)]

    def parts(self, name):
        windows = concatenate([simulated("ecg", 1, 1)] * 100)
        while True:
            yield windows

    def look(self, name):
        return Look(name)

    def without(self, names):
        raise AssertionError(names)


def is_reader(process):
    try:
        return b"reading_process" in (process / "cmdline").read_bytes()
    except OSError:
        return False


def readers_of(parent):
    """The reading processes of a process; skips where there is no /proc."""
    if not PROC.is_dir():
        pytest.skip("processes are looked up in /proc")
    readers = [process for process in PROC.glob("[0-9]*") if is_reader(process)]
    return [reader.name for reader in readers if f"PPid:\t{parent}\n" in (reader / "status").read_text()]


def test_reading_waits_until_its_parts_are_used_and_ends_when_they_are_not():
    before = readers_of(os.getpid())  # of a test that has just ended, perhaps
    parts = ahead(Endless(), n_workers=2)
    assert [len(next(parts).windows) for _ in range(3)] == [100] * 3
    readers = [reader for reader in readers_of(os.getpid()) if reader not in before]
    assert len(readers) == 2
    for reader in readers:
        assert int(re.search(r"VmHWM:\s+(\d+)", (PROC / reader / "status").read_text())[1]) < 300_000
    parts.close()
    assert not set(readers) & set(readers_of(os.getpid()))


@pytest.mark.parametrize("signal", ["INT", "KILL"])
def test_who_is_stopped_leaves_no_readers_behind(signal, tmp_path):
    code = (
        "import signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whoever runs the tests may have it ignored
        "from test_source import Endless, ahead\n"
        "parts = ahead(Endless(), n_workers=2)\n"
        "print(len(next(parts).windows), flush=True)\n"
        "for part in parts: pass\n"
    )
    stopped = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(__file__)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stopped.stdout.readline()
    readers = readers_of(stopped.pid)
    assert len(readers) == 2
    stopped.send_signal({"INT": 2, "KILL": 9}[signal])
    stopped.communicate(timeout=60)
    until = time.monotonic() + 60
    while any(is_reader(PROC / reader) for reader in readers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(is_reader(PROC / reader) for reader in readers)


def test_a_reader_imports_no_torch(folder):
    code = (
        "import sys, numpy as np\n"
        "from heartlens.signals.files import Files\n"
        "from heartlens.signals.source import parts_of\n"
        "source = Files(sys.argv[1], rate_hz=100, kind='ecg')\n"
        "assert len(list(parts_of(source, source.names()[0]))) == 1\n"
        "import heartlens.signals.reading_process\n"
        "assert not {'torch', 'transformer_lens', 'numba', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def test_where_no_process_can_be_started_the_process_itself_reads(folder, monkeypatch):
    source = Files(folder, rate_hz=100, kind="ecg")
    for executable in ("/bin/false", "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", executable)
        assert [part.name for part in ahead(source, n_workers=2)] == source.names()


def test_short_work_is_done_without_processes(folder, monkeypatch):
    def unwanted(answer, source):
        raise AssertionError("a process was started")

    monkeypatch.setattr("heartlens.signals.source.ReadingProcess", unwanted)
    assert len(list(ahead(Files(folder, rate_hz=100, kind="ecg")))) == 7
    assert len(list(ahead(Simulated("ecg")))) == 24
    with pytest.raises(AssertionError, match="a process was started"):
        list(ahead(Simulated("ecg", n_records=10_000)))


def test_simulated_people_are_those_of_simulated():
    source = Simulated("ecg", ("sinus", "af"), seed=3, n_records=3)
    parts = list(ahead(source))
    assert [part.name for part in parts] == source.names()
    sinus = simulated("ecg", 3, 1, seed=3)
    assert same(concatenate([part.windows for part in parts[:3]]), sinus)
    af = simulated("ecg", 3, 1, "af", seed=3)
    assert same(concatenate([part.windows for part in parts[3:]]), replace(af, record=np.char.add(af.record.astype(str), " af")))


def test_given_windows_come_back_by_record():
    windows = replace(simulated("ecg", 3, 2), skipped=(("flat window", 2),))
    mixed = windows[np.array([4, 0, 1, 5, 2, 3])]
    source = Given(mixed)
    assert source.names() == [windows.record[4], windows.record[0], windows.record[2]]
    assert source.kind == "ecg"
    assert same(concatenate([part.windows for part in ahead(source)]), windows[np.array([4, 5, 0, 1, 2, 3])])


def test_a_source_can_be_sent_elsewhere_and_finds_the_same(folder, monkeypatch, tmp_path):
    source = Files([str(folder / "?.npy")], rate_hz=100, kind="ecg")
    names = source.names()
    sent = pickle.loads(pickle.dumps(source))
    np.save(folder / "9.npy", np.zeros(10))
    try:
        assert sent.names() == names
    finally:
        (folder / "9.npy").unlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "eeg"}, "did you mean 'ecg'"),
        ({"landmarks": "no"}, "unknown landmarks"),
        ({"rate_hz": -1}, "-1 Hz"),
        ({"stride": 0}, "stride is 0"),
    ],
)
def test_refusals_come_before_any_reading(options, message):
    with pytest.raises(Refusal, match=message):
        Files("nowhere", **options)
