"""Which signals are refused, which windows skipped? Prints the tables of docs/reading.md; takes about two minutes.

    python benchmarks/reading.py --data DIR

DIR holds `ludb/`, `qtdb/`, `mitdb/`, `cinc2017/`, `bidmc/`, `cinc2015/`, `ppgbp/` and `welltory/`. A recording counts as accepted where it
is not refused and a window is left. Noise is added at levels relative to the recording's typical beat, the median range of 1.5 s.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import wfdb
from foreign import added, foreign
from scipy.io import loadmat
from scipy.signal import resample_poly

from heartlens.refusal import Refusal
from heartlens.signals.missing import bridged, without_codes
from heartlens.signals.quality import usable
from heartlens.signals.readers import read_recording
from heartlens.signals.recording import Recording
from heartlens.signals.simulate import ecg, ppg
from heartlens.signals.traits import traits

TRUTH = {"II": "ecg", "V": "ecg", "AVR": "ecg", "MCL": "ecg", "PLETH": "ppg", "ABP": "pressure", "RESP": "breathing"}
WINDOW_S = {"ecg": 5.0, "ppg": 10.0}
LEVELS = {"baseline steps": (1, 2, 4, 8, 16), "spikes": (1, 2, 4, 8, 16)}


class One(NamedTuple):
    corpus: str
    truth: str
    lead: str
    rate_hz: float
    signal: np.ndarray
    name: str


def every(data: Path) -> Iterator[One]:
    """Every channel of every corpus, and what it is."""
    for corpus in ("ludb", "qtdb", "mitdb"):
        for path in sorted(data.glob(f"{corpus}/*.hea")):
            record = wfdb.rdrecord(str(path.with_suffix("")))
            for lead, signal in zip(record.sig_name, record.p_signal.T, strict=True):
                yield One(corpus, "ecg", lead, float(record.fs), signal, path.stem)
    for path in sorted(data.glob("cinc2017/*.mat")):
        yield One("cinc2017", "ecg", "ecg", 300.0, loadmat(path)["val"][0] / 1000.0, path.stem)
    for corpus, files, rate_hz in (("bidmc", "*_Signals.csv", 125.0), ("cinc2015", "?????.csv", 250.0)):
        for path in sorted(data.glob(f"{corpus}/{files}")):
            table = pd.read_csv(path, skipinitialspace=True)
            for lead in table.columns.intersection(list(TRUTH)):
                yield One(corpus, TRUTH[lead], lead, rate_hz, table[lead].to_numpy(float), path.stem)
    for path in sorted(data.glob("welltory/*/PPG.csv")):
        for lead in "RGB":
            recording = read_recording(path, lead, kind="ppg")
            yield One("welltory", "camera", lead, recording.rate_hz, np.asarray(recording.signal, float), path.parent.name)


def recording_of(channel: One, kind: str, sign: int = 1) -> Recording:
    return bridged(Recording(channel.name, kind, channel.lead, channel.rate_hz, sign * channel.signal, "", None, channel.name, ""))


def left(recording: Recording, kind: str) -> tuple[str, Counter[str], int]:
    """Why the recording is refused (empty: it is not), its windows lost by reason, and how many are left."""
    try:
        clean = usable(recording, kind)
    except Refusal as refusal:
        return str(refusal), Counter(), 0
    length = WINDOW_S[kind] * recording.rate_hz
    counts = [sum(int((part.stop - part.start + 1) // length) for part in stretches) for _, stretches in clean.left]
    lost = {reason: before - after for (reason, _), before, after in zip(clean.left[1:], counts, counts[1:], strict=False)}
    return "", Counter(lost), counts[-1]


def gate_table(channels: list[One]) -> None:
    print("## Recordings accepted as ECG and as PPG\n")
    signals = [*channels]
    for rate_hz in (125.0, 250.0):
        signals += [One("made", name, name, rate_hz, signal, f"{rate_hz:g} Hz") for name, signal in foreign(rate_hz)]
    for seed in range(20):
        for kind, made, rate_hz in (("ecg", ecg, 100.0), ("ppg", ppg, 50.0)):
            for rhythm in ("sinus", "af", "ectopy"):
                signal = made.simulate(np.random.default_rng(seed), 60.0, rhythm)[0]
                signals.append(One("simulated", f"{kind}, {rhythm}", "x", rate_hz, signal, str(seed)))
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for channel in signals:
        count = counts[channel.truth, channel.corpus]
        count["n"] += 1
        for kind in ("ecg", "ppg"):
            count[kind] += left(recording_of(channel, kind), kind)[2] > 0
        count["turned"] += left(recording_of(channel, "ppg", -1), "ppg")[2] > 0
    print("| signal | corpus | channels | accepted as ECG | as PPG | as PPG when turned |\n|---|---|---|---|---|---|")
    for (truth, corpus), count in counts.items():
        print(f"| {truth} | {corpus} | {count['n']} | {count['ecg']} | {count['ppg']} | {count['turned']} |")


def window_table(channels: list[One]) -> None:
    print("\n## Windows skipped on recordings as they are\n")
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for channel in channels:
        kind, sign = ("ppg", -1) if channel.truth == "camera" else (channel.truth, 1)
        if kind in WINDOW_S:
            refusal, lost, n_left = left(recording_of(channel, kind, sign), kind)
            counts[channel.corpus, channel.truth] += lost + Counter(
                {"left": n_left, "recordings": 1, "recordings refused": int(bool(refusal))}
            )
    print("| corpus | kind | channels | refused | windows kept | skipped, by reason |\n|---|---|---|---|---|---|")
    for (corpus, truth), count in counts.items():
        n, n_refused, n_left = (count.pop(name, 0) for name in ("recordings", "recordings refused", "left"))
        print(f"| {corpus} | {truth} | {n} | {n_refused} | {n_left} | {', '.join(f'{r}: {k}' for r, k in count.items() if k)} |")


def noise_table(channels: list[One]) -> None:
    """Windows skipped when noise of known height is added to recordings of which none is skipped without it."""
    print("\n## Windows skipped when noise is added\n")
    print("| kind | noise | " + " | ".join(f"level {k}" for k in range(1, 7)) + " |\n|" + "---|" * 8)
    for kind in ("ecg", "ppg"):
        chosen = [channel for channel in channels if channel.truth == kind and (kind == "ppg" or channel.lead in ("i", "ii", "v5", "II"))]
        clean = [channel for channel in chosen if not any(left(recording_of(channel, kind), kind)[1].values())]
        shares: dict[tuple[str, float], list[float]] = defaultdict(list)
        for number, channel in enumerate(clean):
            signal = channel.signal[: round(60 * channel.rate_hz)]
            cell = round(1.5 * channel.rate_hz)
            beat = np.median(np.ptp(signal[: len(signal) // cell * cell].reshape(-1, cell), axis=1))
            length = round(WINDOW_S[kind] * channel.rate_hz)
            for name, noise in added(np.random.default_rng(number), len(signal), channel.rate_hz).items():
                touched = np.abs(np.diff(noise, prepend=noise[0]))[: len(signal) // length * length].reshape(-1, length).max(axis=1) > 0
                for level in LEVELS.get(name, (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)):
                    _, _, n_left = left(recording_of(channel._replace(signal=signal + level * beat * noise), kind), kind)
                    shares[name, level].append(min((len(touched) - n_left) / max(touched.sum(), 1), 1.0))
        for name in dict.fromkeys(name for name, _ in shares):
            cells = [f"{level:g}: {100 * np.mean(values):.0f} %" for (own, level), values in shares.items() if own == name]
            print(f"| {kind} | {name} | " + " | ".join([*cells, *[""] * (6 - len(cells))]) + " |")
        print(f"| {kind} | none, {len(clean)} recordings | 0 % | | | | | |")


def polarity_of_single_pulses(data: Path) -> None:
    """PPG-BP has one pulse a person: too short for a window, so each is repeated."""
    pulses = np.load(data / "ppgbp/ppgbp_pulses.npz")
    rise = []
    for pulse, length in zip(pulses["pulses"], pulses["length"], strict=True):
        own = pulse[:length] - np.linspace(pulse[0], pulse[length - 1], length)
        rise.append(float(traits(np.tile(own, 10_000 // length + 1)[None, :10_000], 1000.0).steep_rise[0]))
    print(
        f"\nPPG-BP, single pulses repeated: {sum(value > 0.25 for value in rise)} of {len(rise)} rise more steeply than they fall", end=""
    )
    print(f" (by more than 0.25), {sum(value < -0.25 for value in rise)} the other way round")


def cost(data: Path) -> None:
    paths = sorted(data.glob("ludb/*.hea"))
    recordings = [read_recording(path, "ii") for path in paths]

    def plain() -> None:
        for path in paths:
            resample_poly(wfdb.rdrecord(str(path.with_suffix("")), channels=[1]).p_signal[:, 0], 1, 5)

    def gates() -> None:
        for recording in recordings:
            without_codes(recording.signal, recording.rate_hz)
            usable(bridged(recording), "ecg")

    took = {}
    for what in (plain, gates):
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            what()
            times.append(time.perf_counter() - begin)
        took[what.__name__] = 1000 * min(times) / len(paths)
    print(f"\nA record of 10 s: wfdb and resampling {took['plain']:.2f} ms, missing values, kind and quality {took['gates']:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    channels = list(every(data))
    gate_table(channels)
    window_table(channels)
    noise_table(channels)
    polarity_of_single_pulses(data)
    cost(data)


if __name__ == "__main__":
    main()
