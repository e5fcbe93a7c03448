"""Simulated hearts whose landmarks are known, and what tests of their counterfactuals read off them."""

from dataclasses import replace

import numpy as np

from heartlens.axes import CONTEXT, KINDS
from heartlens.signals.simulate import simulated
from heartlens.windows import concatenate

ECG, PPG = simulated("ecg", 8, 1), simulated("ppg", 8, 1)
AF = simulated("ecg", 6, 1, "af")


def stretches(labels, *names, kind="ecg"):
    """First and last token of each stretch of these waves, found token by token."""
    wanted = {KINDS[kind].waves.index(name) for name in names}
    found = []
    for token, label in enumerate(labels):
        if label in wanted:
            if found and found[-1][1] == token - 1:
                found[-1][1] = token
            else:
                found.append([token, token])
    return found


def beat_tokens(position):
    """The tokens, with fractions, at which the position is a whole number; a hundredth off, since its slope changes there."""
    numbers = np.arange(np.ceil(position[0]), np.floor(position[-1]) + 1)
    return np.interp(numbers, position, np.arange(CONTEXT))


def variation(position):
    """RMSSD over the mean interval."""
    intervals = np.diff(beat_tokens(position))
    return np.sqrt(np.mean(np.diff(intervals) ** 2)) / intervals.mean()


def unlabelled(windows, *names, near=0):
    """Which tokens lie farther than `near` from these waves."""
    waves = [KINDS[windows.kind].waves.index(name) for name in names]
    inside = np.isin(windows.wave, waves)
    reach = np.array([np.convolve(row, np.ones(2 * near + 1), "same") > 0 for row in inside.astype(float)])
    return ~reach


def marked(*spans, beats=(), kind="ecg"):
    """One window of drawn tokens with these waves (index, first token, last token), and marks of beats at these tokens."""
    wave = np.full((1, CONTEXT), -1, np.int8)
    for index, first, last in spans:
        wave[0, first : last + 1] = index
    position = np.full((1, CONTEXT), np.nan)
    if len(beats):
        time = np.arange(beats[0] - 10, beats[-1] + 11)
        position[0, time] = 1 + np.interp(time, [time[0], *beats, time[-1]], [-0.2, *range(len(beats)), len(beats) - 0.8])
    tokens = np.random.default_rng(0).integers(0, 101, (1, CONTEXT)).astype(np.uint8)
    return replace((ECG if kind == "ecg" else PPG)[:1], tokens=tokens, wave=wave, position=position)


def lined(windows, *spans):
    """The tokens with straight lines over these spans."""
    tokens = windows.tokens.astype(float)
    for first, last in spans:
        tokens[0, first : last + 1] = np.interp(np.arange(first, last + 1), [first - 1, last + 1], tokens[0, [first - 1, last + 1]])
    return np.round(tokens).astype(np.uint8)


def joined(*parts):
    """The windows one after the other."""
    return concatenate(list(parts))
