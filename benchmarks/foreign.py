"""Signals that are neither ECG nor PPG, and noise to add to those that are: what readers must refuse and skip."""

from collections.abc import Iterator

import numpy as np

Signal = np.ndarray


def spectrum_noise(rng: np.random.Generator, n: int, rate_hz: float, low_hz: float, high_hz: float, fall: float = 0.0) -> Signal:
    """Gaussian noise between two frequencies, its amplitude falling as frequency to the power of -`fall`; deviation 1."""
    frequency = np.fft.rfftfreq(n, 1 / rate_hz)
    inside = (frequency >= low_hz) & (frequency <= min(high_hz, 0.45 * rate_hz))
    amplitude = np.where(inside, np.maximum(frequency, 0.05) ** -fall, 0)
    noise = np.fft.irfft(amplitude * (rng.normal(size=len(frequency)) + 1j * rng.normal(size=len(frequency))), n)
    return noise / noise.std()


def pressure(rng: np.random.Generator, time_s: Signal) -> Signal:
    """An arterial pressure in mmHg: an upstroke of 0.12 s, an exponential fall, a dicrotic wave."""
    wave, start, usual_s = np.zeros(len(time_s)), 0.0, 1 / rng.uniform(0.9, 1.8)
    while start < time_s[-1]:
        length = usual_s * (1 + 0.05 * rng.normal())
        since, inside = time_s - start, (time_s >= start) & (time_s < start + length)
        rise = np.sin(np.pi / 2 * np.clip(since / 0.12, 0, 1)) ** 2
        fall = np.exp(-np.clip(since - 0.12, 0, None) / 0.45) + 0.12 * np.exp(-(((since - 0.36) / 0.05) ** 2)) * (since > 0.25)
        wave[inside] = np.where(since < 0.12, rise, fall)[inside]
        start += length
    return 80 + 40 * wave + 0.3 * rng.normal(size=len(time_s))


def walking(rng: np.random.Generator, time_s: Signal, rate_hz: float) -> Signal:
    """An acceleration in g while walking: three harmonics of the step, and shaking."""
    steps = np.cumsum((rng.uniform(1.5, 2.2) + 0.05 * rng.normal(size=len(time_s))) / rate_hz)
    harmonics = sum(height * np.sin(2 * np.pi * k * steps + rng.uniform(0, 6)) for k, height in ((1, 0.3), (2, 0.2), (3, 0.1)))
    return 1 + harmonics + 0.1 * spectrum_noise(rng, len(time_s), rate_hz, 0.5, 15)


def breathing(rng: np.random.Generator, time_s: Signal, rate_hz: float) -> Signal:
    """A respiration belt: in faster than out."""
    phase = np.cumsum((rng.uniform(0.2, 0.35) + 0.03 * np.sin(0.1 * time_s)) / rate_hz) % 1
    rise, fall = np.sin(np.pi / 2 * phase / 0.4) ** 2, np.cos(np.pi / 2 * (phase - 0.4) / 0.6) ** 2
    return np.where(phase < 0.4, rise, fall) + 0.01 * rng.normal(size=len(time_s))


def foreign(rate_hz: float, length_s: float = 60.0, n_each: int = 6) -> Iterator[tuple[str, Signal]]:
    """Each kind `n_each` times, of other numbers each."""
    time_s = np.arange(round(length_s * rate_hz)) / rate_hz
    n = len(time_s)
    for seed in range(n_each):
        rng = np.random.default_rng(seed)
        turns = rng.uniform(0.6, 2.0) * time_s
        grain = 0.002 * rng.normal(size=n)
        yield "arterial pressure", pressure(rng, time_s)
        yield "breathing", breathing(rng, time_s, rate_hz)
        yield "acceleration, walking", walking(rng, time_s, rate_hz)
        yield "acceleration, at rest", 1 + 0.003 * np.sin(2 * np.pi * 0.25 * time_s) + 0.002 * rng.normal(size=n)
        yield "sine, 0.6 to 2 Hz", np.sin(2 * np.pi * turns) + grain
        yield "sine, 0.1 to 0.3 Hz", np.sin(2 * np.pi * turns / 6) + grain
        yield "sine, 5 to 17 Hz", np.sin(2 * np.pi * 8.5 * turns) + grain
        yield "square wave", (turns % 1 < 0.5) + 10 * grain
        yield "triangle", np.abs(turns % 1 - 0.5) + grain
        yield "wrapping counter", np.arange(n) % (60, 100, 250, 256, 1000, 65536)[seed % 6] * 1.0
        yield "ramp", time_s + grain
        yield "white noise", rng.normal(size=n)
        yield "random walk", np.cumsum(rng.normal(size=n))
        yield "muscle noise", spectrum_noise(rng, n, rate_hz, 20, 150)
        yield "noise of the pulse's band", spectrum_noise(rng, n, rate_hz, 0.8, 4)
        yield "noise of the QRS's band", spectrum_noise(rng, n, rate_hz, 5, 20)
        yield "EEG", 2 * spectrum_noise(rng, n, rate_hz, 0.5, 40, 0.7) + spectrum_noise(rng, n, rate_hz, 8, 12)
        yield "mains hum", np.sin(2 * np.pi * 50 * time_s) + 50 * grain
        yield "temperature", 36 + 0.1 * np.cumsum(rng.normal(size=n)) / np.sqrt(n)
        yield "oxygen saturation", 97 + np.round(np.sin(0.05 * time_s) + 0.3 * rng.normal(size=n))


def added(rng: np.random.Generator, n: int, rate_hz: float) -> dict[str, Signal]:
    """Noise of deviation 1, and events of height 1 (one every 4 s on average; spikes last 20 ms)."""
    time_s = np.arange(n) / rate_hz
    at, width = rng.integers(0, n, max(round(n / rate_hz / 4), 1)), max(round(0.02 * rate_hz), 1)
    steps = np.zeros(n)
    np.add.at(steps, at, rng.choice([-1.0, 1.0], len(at)))
    spikes = np.clip(np.convolve(steps, np.ones(width))[:n], -1, 1)
    return {
        "muscle (20 to 150 Hz)": spectrum_noise(rng, n, rate_hz, 20, 150),
        "white": rng.normal(size=n),
        "mains (50 Hz)": np.sqrt(2) * np.sin(2 * np.pi * 50 * time_s + rng.uniform(0, 6)),
        "motion (0.5 to 8 Hz)": spectrum_noise(rng, n, rate_hz, 0.5, 8, 1.0),
        "baseline steps": np.cumsum(steps),
        "spikes": spikes,
    }
