"""What is made of windows is made once for equal windows, and anew where anything differs."""

from dataclasses import fields, replace

import numpy as np
import pytest

from heartlens.signals.counterfactuals import made_once, with_rhythm
from heartlens.signals.counterfactuals.made_once import N_KEPT
from heartlens.signals.simulate import simulated
from heartlens.signals.simulate.regular import regular

CHANGED = {
    "kind": lambda kind: "ppg",
    "waves": lambda waves: ("Q", *waves[1:]),
    "sources": lambda sources: (*sources, "another"),
    "skipped": lambda skipped: (*skipped, ("flat", 1)),
    "notes": lambda notes: (*notes, "a note"),
    **{name: lambda names: np.char.add(names, "x") for name in ("record", "person", "content")},
    **{name: lambda values: values + 1 for name in ("tokens", "start_s", "low", "high", "wave", "segment", "position")},
}


@pytest.fixture
def counted():
    """A function that is made once, and the calls that it was made for."""
    calls = []

    @made_once
    def made(windows, seed, *, rescale=True):
        calls.append((seed, rescale))
        return object()

    return made, calls


def test_equal_windows_give_the_same_object(counted):
    made, calls = counted
    windows = regular("ecg", 2)
    again = replace(windows, tokens=windows.tokens.copy(), record=windows.record.copy())
    assert made(windows, 1) is made(again, 1)
    assert made(windows, 2) is not made(windows, 1)
    assert made(windows, 1, rescale=False) is not made(windows, 1)
    assert calls == [(1, True), (2, True), (1, False)]


@pytest.mark.parametrize("name", [each.name for each in fields(regular("ecg", 1))])
def test_windows_that_differ_in_anything_do_not(counted, name):
    made, calls = counted
    windows = regular("ecg", 2)
    other = replace(windows, **{name: CHANGED[name](getattr(windows, name))})
    assert made(windows, 1) is not made(other, 1)
    assert len(calls) == 2


def test_only_so_many_are_kept(counted):
    made, calls = counted
    windows = regular("ecg", 1)
    for seed in range(N_KEPT + 1):
        made(windows, seed)
    made(windows, 0)
    assert len(calls) == N_KEPT + 2


def test_an_edit_is_what_it_is_without():
    windows = simulated("ecg", 2, 1)
    once = made_once(lambda given, seed: with_rhythm(given, "irregular", seed))
    for _ in range(2):
        np.testing.assert_array_equal(once(windows, 3).tokens, with_rhythm(windows, "irregular", 3).tokens)
