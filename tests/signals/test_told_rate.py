"""The rate of files of named arrays: numbers named after a lead, and times, agree or are refused; a given rate decides among them."""

import decimal

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.io

from heartlens.refusal import Refusal
from heartlens.signals.read import read
from heartlens.signals.readers import read_recording
from heartlens.signals.readers.told_rate import tells_rate

X = np.arange(1000.0) % 90
TIME_S = np.arange(1000) / 125


def mat(path, content):
    scipy.io.savemat(path.with_suffix(".mat"), content)
    return path.with_suffix(".mat")


def hdf5(path, content):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, value in content.items():
            file[name] = value
    return path.with_suffix(".h5")


def npz(path, content):
    np.savez(path.with_suffix(".npz"), **content)
    return path.with_suffix(".npz")


def refused(path, match, **hints):
    with pytest.raises(Refusal, match=match) as refusal:
        read_recording(path, **hints)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("write", [mat, hdf5, npz])
@pytest.mark.parametrize("name", ["fs_ecg", "ecg_fs", "ECGfs", "samplerate_ecg", "fsECG", "sampling_rate_ecg", "ecgSampleRate"])
def test_a_rate_named_after_the_lead_counts(tmp_path, write, name):
    assert read_recording(write(tmp_path / "one", {"ecg": X, name: 125.0})).rate_hz == 125
    path = write(tmp_path / "two", {"ecg": X, name: 125.0, "fs": 250.0})
    refused(path, rf"holds several rates \(.*{name} 125 Hz.*\); give that of the lead with --rate")
    refused(path, "500 Hz, which was given, is none of them; give that of the lead with --rate", rate_hz=500)
    for given_hz in (125, 250):
        recording = read_recording(path, rate_hz=given_hz)
        assert recording.rate_hz == given_hz
        assert f"{given_hz} Hz taken, as given, of several rates" in recording.notes[-1]


def test_a_rate_named_after_an_array_of_any_name_and_in_a_structure(tmp_path):
    refused(mat(tmp_path / "a", {"val": X, "fs_val": 125.0, "fs": 250.0}), "several rates")
    refused(mat(tmp_path / "b", {"ecg": X, "fs": {"ecg": 125.0, "ppg": 250.0}}), "several rates")


@pytest.mark.parametrize("name", ["fs_resp", "hz_notch", "fsample_id", "sri", "srs"])
def test_a_number_named_after_something_else_is_no_rate(tmp_path, name):
    assert read_recording(mat(tmp_path / "a", {"ecg": X, "fs": 250.0, name: 25.0})).rate_hz == 250


@pytest.mark.parametrize("write", [mat, hdf5, npz])
@pytest.mark.parametrize(("name", "per_s"), [("time", 1), ("t", 1), ("time_s", 1), ("time_ms", 1000), ("timestamps", 1)])
def test_times_are_compared_with_the_rate_and_are_no_lead(tmp_path, write, name, per_s):
    times = TIME_S * per_s
    alone = read_recording(write(tmp_path / "a", {"ecg": X, name: times}))
    assert (alone.rate_hz, alone.notes) == (pytest.approx(125), ())
    assert read_recording(write(tmp_path / "b", {"ecg": X, name: times, "fs": 125.0})).rate_hz == 125
    path = write(tmp_path / "c", {"ecg": X, name: times, "fs": 250.0})
    refused(path, rf"holds several rates \(fs 250 Hz, times {name} 125 Hz\); give that of the lead with --rate")
    refused(path, "500 Hz, which was given, is none of them", rate_hz=500)
    assert read_recording(path, rate_hz=125).rate_hz == pytest.approx(125)
    assert read_recording(path, rate_hz=250).rate_hz == 250


@pytest.mark.parametrize("write", [mat, hdf5, npz])
def test_times_whose_unit_the_rate_or_the_user_tells_and_times_of_no_use(tmp_path, write):
    assert read_recording(write(tmp_path / "a", {"ecg": X, "t": TIME_S * 1000, "fs": 125.0})).rate_hz == 125
    path = write(tmp_path / "b", {"ecg": X, "t": TIME_S * 1000})
    refused(path, "give --time-unit")
    assert read_recording(path, time_unit="ms").rate_hz == pytest.approx(125)
    path = write(tmp_path / "c", {"ecg": X, "t": np.where(TIME_S > 2, TIME_S + 1, TIME_S)})
    refused(path, "uneven.*--rate")
    recording = read_recording(path, rate_hz=125)
    assert recording.rate_hz == 125
    assert "the times are not used" in recording.notes[-1]


def test_an_npz_whose_times_are_dates_is_read(tmp_path):
    dates = np.array(["2024-03-09"] * 1000, object)
    assert read_recording(npz(tmp_path / "a", {"ecg": X, "time": dates, "fs": 250.0})).rate_hz == 250


def table(path, **columns):
    pyarrow.parquet.write_table(pa.table({"time": TIME_S} | columns), path)
    return path


def test_parquet_reads_decimals(tmp_path):
    decimals = pa.array([decimal.Decimal(f"{value:.4f}") for value in X / 7])
    recording = read_recording(table(tmp_path / "a.parquet", ECG=decimals, V=X))
    assert recording.lead == "ECG"
    np.testing.assert_allclose(recording.signal, np.round(X / 7, 4))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_refuses_text_called_as_a_signal_and_tells_what_else_is_left_out(tmp_path, kind):
    texts = pa.array([f"{value:.2f}" for value in X]).cast(kind)
    path = table(tmp_path / "a.parquet", ECG=texts, V=X)
    refused(path, r"ECG holds text \('0.00'\), not numbers")
    refused(path, r"ECG holds text", lead="ECG")
    assert read_recording(path, "V").lead == "V"
    path = table(tmp_path / "a.parquet", device=texts, lead=texts, ECG=X)
    assert "columns that are no numbers are left out: device, lead" in read_recording(path).notes
    refused(path, "device holds text", lead="device")


@pytest.mark.parametrize(
    "names", [("PPG [a.u.]", "x"), ("ecg.raw", "resp.raw"), ("ECG no. I", "x.I"), ("ecg", "ecg.raw"), ("ecg.raw", "ecg")]
)
def test_parquet_names_are_whole(tmp_path, names):
    path = table(tmp_path / "a.parquet", **{names[1]: -X, names[0]: X})
    recording = read_recording(path, names[0])
    assert recording.lead == names[0]
    assert recording.signal.tolist() == X.tolist()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/" + names[0]] = X
    assert read_recording(tmp_path / "a.h5", rate_hz=125, kind="ecg").lead == names[0]


@pytest.mark.parametrize("name", ["heart_rate", "resp_rate", "cutoff_frequency", "notch_hz", "pulse rate", "frame_rate", "bit-rate"])
def test_a_rate_of_something_else_is_no_sampling_rate(name, tmp_path):
    assert not tells_rate(name, ["ecg"])
    np.savez(tmp_path / "one.npz", ecg=np.sin(np.arange(3000) / 20), **{name: 72})
    with pytest.raises(Refusal, match="--rate"):
        read(tmp_path / "one.npz", kind="ecg")
