"""The signal itself is asked: is it of its kind, does it point up, which windows are clean. On simulated signals and the cases."""

import numpy as np
import pytest

from heartlens.refusal import Refusal
from heartlens.signals.delineate import delineate
from heartlens.signals.quality import usable
from heartlens.signals.read import read
from heartlens.signals.readers import read_recording
from heartlens.signals.recording import Recording
from heartlens.signals.simulate import ecg, ppg

LENGTH_S = 60.0
RNG = np.random.default_rng(0)


def recording(signal, rate_hz, kind="ecg", lead="x"):
    return Recording("r", kind, lead, rate_hz, np.asarray(signal, float), "", None, "file", "")


def heart(kind, rhythm="sinus", seed=0):
    rate_hz, simulate = {"ecg": (100.0, ecg.simulate), "ppg": (50.0, ppg.simulate)}[kind]
    return simulate(np.random.default_rng(seed), LENGTH_S, rhythm)[0], rate_hz


def lost(signal, rate_hz, kind="ecg"):
    """The seconds that each reason costs."""
    seconds = [sum(part.stop - part.start for part in parts) / rate_hz for _, parts in usable(recording(signal, rate_hz, kind), kind).left]
    names = [reason for reason, _ in usable(recording(signal, rate_hz, kind), kind).left[1:]]
    return {name: round(before - after) for name, before, after in zip(names, seconds, seconds[1:], strict=False) if round(before - after)}


def refusal_or_seconds(signal, kind):
    """Why a recording is refused, or how many seconds of it can be used."""
    try:
        return "", sum(part.stop - part.start for part in usable(signal, kind).stretches) / signal.rate_hz
    except Refusal as refusal:
        return str(refusal), 0.0


@pytest.mark.parametrize("rhythm", ["sinus", "af", "ectopy"])
@pytest.mark.parametrize("kind", ["ecg", "ppg"])
@pytest.mark.parametrize("gain", [1.0, 1e-4, 1e5])
def test_hearts_are_taken_whole_at_any_gain_and_offset(kind, rhythm, gain):
    signal, rate_hz = heart(kind, rhythm)
    clean = usable(recording(gain * (signal + 3), rate_hz, kind), kind)
    assert clean.stretches == [slice(0, len(signal))]
    assert clean.notes == ()


def pulse_wave(time_s):
    """A pressure: up in 0.12 s, down exponentially, 72 a minute."""
    phase_s = time_s % (60 / 72)
    return np.where(phase_s < 0.12, np.sin(np.pi / 2 * phase_s / 0.12) ** 2, np.exp(-(phase_s - 0.12) / 0.45))


TIME_S = np.arange(15_000) / 250
GRAIN = 0.002 * RNG.normal(size=15_000)
FOREIGN = {
    "pressure": 80 + 40 * pulse_wave(TIME_S) + GRAIN,
    "breathing": np.sin(2 * np.pi * 0.25 * TIME_S) + GRAIN,
    "sine": np.sin(2 * np.pi * 1.2 * TIME_S) + GRAIN,
    "square": (1.2 * TIME_S % 1 < 0.5) + GRAIN,
    "triangle": np.abs(1.2 * TIME_S % 1 - 0.5) + GRAIN,
    "counter": np.arange(15_000) % 256.0,
    "time in ms that starts anew": (TIME_S * 1000) % 5000,
    "white noise": RNG.normal(size=15_000),
    "walk": np.cumsum(np.random.default_rng(3).normal(size=15_000)),
    "quality": np.where(RNG.random(15_000) < 0.01, 0.0, 100.0),
}


@pytest.mark.parametrize("kind", ["ecg", "ppg"])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_heart_signal_is_refused_or_has_no_usable_window(name, kind):
    if (name, kind) == ("pressure", "ppg"):
        pytest.skip("the pressure's wave is a pulse wave: only its name and its unit tell")
    refusal, seconds = refusal_or_seconds(recording(FOREIGN[name], 250.0, kind), kind)
    assert seconds < {"ecg": 6, "ppg": 11}[kind]
    assert not refusal or "--as-is" in refusal
    assert "\n" not in refusal


def test_an_ecg_is_no_pulse_and_a_pulse_no_ecg():
    for kind, other, reason in (
        ("ecg", "ppg", "has sharp complexes"),
        ("ppg", "ecg", "rises and falls like a pulse|has no sharp complexes"),
    ):
        signal, rate_hz = heart(kind)
        with pytest.raises(Refusal, match=rf"({reason}).*this is not {other.upper()}; .*--as-is"):
            usable(recording(signal, rate_hz, other), other)


def test_as_is_takes_anything_and_says_so():
    clean = usable(recording(FOREIGN["pressure"], 250.0, lead="ABP"), "ecg", "as-is")
    assert clean.stretches == [slice(0, 15_000)]
    assert clean.notes[0].startswith("r: ABP taken as it is, though it ")


@pytest.mark.parametrize("rhythm", ["sinus", "af", "ectopy"])
def test_pulses_that_point_down_are_refused_never_turned(rhythm):
    signal, rate_hz = heart("ppg", rhythm)
    with pytest.raises(Refusal, match="upside down: its pulses fall more steeply than they rise; give --invert to turn it, or --as-is"):
        usable(recording(-signal, rate_hz, "ppg"), "ppg")
    with pytest.raises(Refusal, match="it points up as recorded: leave --invert away"):
        usable(recording(-signal, rate_hz, "ppg"), "ppg", "invert")


def test_a_reversed_lead_is_noted_and_others_are_not():
    signal, rate_hz = heart("ecg")
    for lead, is_noted in (("I", True), ("II", True), ("aVR", False), ("V1", False), ("x", False)):
        notes = usable(recording(-signal, rate_hz, lead=lead), "ecg").notes
        assert [note.partition(" looks")[0] for note in notes] == ([f"r: lead {lead}"] if is_noted else [])
        assert usable(recording(signal, rate_hz, lead=lead), "ecg").notes == ()


def test_each_fault_costs_the_windows_that_hold_it():
    signal, rate_hz = heart("ecg")
    beat = np.median(np.ptp(signal.reshape(-1, 150), axis=1))
    time_s, bad = np.arange(len(signal)) / rate_hz, slice(2000, 3600)  # 20 to 36 s: four windows of 5 s
    rng = np.random.default_rng(1)

    def changed(values):
        other = signal.copy()
        other[bad] = values
        return other

    assert lost(changed(signal[bad] + 0.5 * beat * rng.normal(size=1600)), rate_hz) == {"noise": 20}
    assert lost(changed(0.3 * beat * rng.normal(size=1600)), rate_hz) == {"noise": 20}
    assert lost(changed(3 * beat + 1e-3 * beat * rng.integers(0, 2, 1600)), rate_hz)["lead off"] >= 15
    assert lost(changed(signal.max() + 0.2 * beat), rate_hz)["flat window"] == 16
    assert lost(changed(np.where(rng.random(1600) < 0.003, 20 * beat, signal[bad])), rate_hz).keys() <= {
        "spikes",
        "jump or drift larger than the beats",
    }
    hum = signal + np.where((time_s >= 20) & (time_s < 35), 0.5 * beat * np.sin(2 * np.pi * 45 * time_s), 0)
    assert lost(hum, rate_hz) == {"mains hum": 15}
    cut_off = np.minimum(signal, np.quantile(signal, 0.9))
    assert lost(np.where((time_s >= 20) & (time_s < 40), cut_off, np.minimum(signal, signal.max())), rate_hz) == {}  # not at a rail
    assert lost(cut_off, rate_hz)["cut off at a rail"] >= 40


def test_a_drift_that_squeezes_the_pulses_is_skipped():
    signal, rate_hz = heart("ppg")
    beat = np.median(np.ptp(signal.reshape(-1, 75), axis=1))
    settling = signal + 30 * beat * np.exp(-np.arange(len(signal)) / rate_hz / 2)
    assert lost(settling, rate_hz, "ppg") == {"jump or drift larger than the beats": 10}
    with pytest.raises(Refusal, match="upside down"):
        usable(recording(-settling, rate_hz, "ppg"), "ppg")


def test_detectors_find_nothing_in_noise_and_drift():
    time_s, rng = np.arange(7500) / 250, np.random.default_rng(2)
    for signal in (time_s**2, np.exp(-time_s / 8), rng.normal(size=7500), np.round(0.6 * rng.normal(size=7500)), np.zeros(7500)):
        for kind in ("ecg", "ppg"):
            with pytest.raises(Refusal, match="no beats found"):
                delineate(signal, 250.0, kind)


def test_noise_and_rails_are_skipped_and_hold_no_beat(shared):
    folder = shared / "cases/07-lead-off-rail-with-dither"
    for name, reasons in (("ecg_16s_of_muscle_noise", {"noise"}), ("ecg_16s_on_rail_1lsb_noise", {"lead off", "cut off at a rail"})):
        windows = read(folder / f"{name}.csv", rate_hz=250)
        assert windows.start_s.tolist() == [0, 5, 10, 15, 40, 45, 50, 55]
        assert sum(count for _, count in windows.skipped) == 4
        assert {reason for reason, _ in windows.skipped} == reasons
        beat_s = delineate(read_recording(folder / f"{name}.csv", rate_hz=250).signal, 250.0, "ecg").beat_s
        assert not ((beat_s > 20) & (beat_s < 36)).any()
        assert len(beat_s) >= 40


def test_pulses_down_are_those_up_once_turned(shared):
    folder = shared / "cases/08-reflectance-counts-pulses-down"
    down, up = folder / "ppg_raw_counts_pulses_down.csv", folder / "ppg_same_pulses_up.csv"
    with pytest.raises(Refusal, match="--invert"):
        read(down, rate_hz=100)
    turned, upright = read(down, rate_hz=100, polarity="invert"), read(up, rate_hz=100)
    assert (turned.tokens == upright.tokens).all()
    assert np.nanmax(turned.position) // 1 + 1 == 132
    assert len(read(down, rate_hz=100, polarity="as-is")) == 9


def test_the_exposure_ramp_of_a_camera_is_skipped(shared):
    path = shared / "cases/19-phone-camera-timestamps/rgb_exposure_settles.csv"
    windows = read(path, lead="R", kind="ppg", polarity="invert")
    assert windows.start_s[0] == pytest.approx(10, abs=0.1)
    assert dict(windows.skipped)["jump or drift larger than the beats"] == 1


def test_a_pressure_and_breathing_asked_for_as_an_ecg(shared):
    path = shared / "cases/05-channel-chosen-among-unfamiliar-names/monitor_abp_first.csv"
    with pytest.raises(Refusal, match="ABP rises and falls like a pulse or a pressure: this is not ECG"):
        read(path, lead="ABP", kind="ecg")
    with pytest.raises(Refusal, match="RESP moves as slowly as breathing"):
        read(path, lead="RESP", kind="ecg")
    assert len(read(path, lead="ABP", kind="ecg", polarity="as-is")) == 12


def test_real_leads_are_of_their_kind(shared):
    for number in (1, 13, 110, 120, 121, 139):  # wide QRS, extrasystoles five times as high, small and moved leads, muscle noise
        assert usable(read_recording(shared / f"data/ludb/{number}.hea", "v1"), "ecg").stretches
        for lead in ("i", "ii", "v5"):
            signal = read_recording(shared / f"data/ludb/{number}.hea", lead)
            assert usable(signal, "ecg").stretches
            refusal, seconds = refusal_or_seconds(signal, "ppg")
            assert seconds == 0
            assert not refusal or "this is not PPG" in refusal
