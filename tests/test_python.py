"""docs/python.md is true: its blocks run in order, it names every public name; and what the Python interface adds, by arithmetic."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import heartlens as hl
from heartlens.refusal import Refusal
from heartlens.windows import concatenate

PAGE = (Path(__file__).parents[1] / "docs/python.md").read_text(encoding="utf-8")
SCAN = hl.HeadScan(n_twins=0, n_permutations=99, n_rotations=2)


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(code, "docs/python.md", "exec"), names)
    assert names["effects"].dims == ("how", "layer", "head")
    assert np.isfinite(names["lifts"]["lift_low"].sel(query="all", wave="QRS")).all()
    assert (tmp_path / "column.pdf").read_bytes().startswith(b"%PDF")
    assert "ecg-sim: ECG, answers: next token" in capsys.readouterr().out


def test_the_page_names_every_public_name():
    assert [name for name in hl.__all__ if f"`{name}" not in PAGE] == []


def test_measurements_add_up_to_that_of_all():
    model, windows = hl.load("ecg-sim"), hl.simulated("ecg", 4, 1)
    whole, parts = hl.measure(SCAN, model, windows), [hl.measure(SCAN, model, part) for part in (windows[:1], windows[1:])]
    xr.testing.assert_identical(hl.summarize(SCAN, parts[0] + parts[1]).drop_attrs(), hl.summarize(SCAN, whole).drop_attrs())
    with pytest.raises(Refusal, match="counted"):
        _ = parts[0] + whole
    with pytest.raises(TypeError):
        _ = parts[0] + 1


def test_what_is_printed_is_short():
    model, windows = hl.load("ecg-sim"), hl.simulated("ecg", 4, 1)
    measured = hl.measure(SCAN, model, windows)
    told = [repr(each) for each in (windows, model.origin, measured, SCAN.findings(hl.summarize(SCAN, measured)))]
    assert all(len(text.splitlines()) <= 16 for text in told), told
    assert told[0].startswith("Windows of ECG at 100 Hz: 4 x 500 tokens (window x time)\n  4 records: ")
    assert "Measured: HeadScan of ecg-sim" in told[2]
    assert repr(windows[:0]).startswith("Windows of ECG at 100 Hz: 0 x 500")


def test_a_wave_of_ones_own_is_asked_about_like_any_other():
    """A wave that is all of QRS has QRS's lift: the same keys are counted."""
    windows = hl.simulated("ecg", 3, 1)
    renamed = windows.with_wave("ventricles", windows.inside("QRS"))
    assert renamed.waves == ("P", "QRS", "T", "ventricles")
    assert not renamed.inside("QRS").any()
    model = hl.load("ecg-sim")
    lift = hl.run(SCAN, model, windows).lift.sel(wave="QRS", drop=True)
    of_renamed = hl.run(SCAN, model, renamed).lift.sel(wave="ventricles", drop=True)
    np.testing.assert_allclose(of_renamed, lift, rtol=2**-20)  # sums are kept to 21 digits, and waves are summed in another order
    fine = hl.run(hl.HeadScan(fine=True, n_twins=0, n_permutations=99), model, windows.with_wave("J", lambda each: each.after("QRS", 0.04)))
    assert list(fine["wave"].values) == ["P", "Q", "R", "S", "T", "J"]


def test_after_a_wave_counts_from_its_end():
    windows = hl.simulated("ecg", 2, 1)
    inside, after = windows.inside("QRS"), windows.after("QRS", 0.04)
    expected = np.zeros_like(inside)
    for window, row in enumerate(inside):
        for token in range(1, len(row)):
            expected[window, token] = not row[token] and row[max(0, token - 4) : token].any()  # 40 ms are 4 tokens at 100 Hz
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(
    ("name", "where", "expected"),
    [
        ("QRS", np.ones((2, 500), bool), "cannot be added"),
        ("", np.ones((2, 500), bool), "cannot be added"),
        ("J", np.ones((2, 499), bool), r"of shape \(2, 499\); legal: bool of shape \(2, 500\)"),
        ("J", np.ones((2, 500)), "is float64 of shape"),
        ("J", np.zeros((2, 500), bool), "no token lies in 'J'"),
    ],
)
def test_waves_that_cannot_be(name, where, expected):
    windows = hl.simulated("ecg", 2, 1)
    with pytest.raises(Refusal, match=expected):
        windows.with_wave(name, where)


def test_windows_of_other_waves_do_not_mix_nor_add():
    windows = hl.simulated("ecg", 2, 1)
    marked = windows.with_wave("J", lambda each: each.after("QRS", 0.04))
    with pytest.raises(Refusal, match="cannot be mixed"):
        concatenate([windows[:1], marked[1:]])
    with pytest.raises(Refusal, match="differ in data_options"):
        _ = hl.measure(SCAN, hl.load("ecg-sim"), windows[:1]) + hl.measure(SCAN, hl.load("ecg-sim"), marked[1:])


def test_a_readout_of_ones_own_is_what_an_ablation_measures():
    model, windows = hl.load("ecg-sim"), hl.simulated("ecg", 3, 1)
    judged = hl.with_readout(model, "last logit of 50", lambda outputs, windows: outputs[:, :, -1, 50])
    ablation = hl.Ablation(how="zero", cumulative=False, n_twins=0, n_permutations=99)
    summary = hl.run(ablation, judged, windows)
    tokens = torch.from_numpy(windows.tokens.astype("int64"))
    with torch.inference_mode():
        intact = model(tokens)[:, -1, 50].double()
        with hl.ablated(model, heads=[(2, 1)]):
            without = model(tokens)[:, -1, 50].double()
    found = summary.effect.sel(readout="last logit of 50", how="zero", layer=2, head=1).item()
    assert found == pytest.approx(float((without - intact).mean()), abs=1e-4)
    assert "readout of the caller: last logit of 50" in summary.attrs["edits"]


def test_an_ablation_with_a_readout_of_ones_own_has_the_merits_of_the_one_without(tmp_path):
    """Labels are told from the probability, whatever comes before it; of a beat detector there is still an F1, and the own one decides."""
    model, windows, labels = hl.load("ecg-sim-af"), hl.simulated("ecg", 4, 1), tmp_path / "labels.csv"
    labels.write_text("record,label\n" + "".join(f"{name},{'NA'[place % 2]}\n" for place, name in enumerate(windows.records)))
    of_records = hl.Ablation(how="zero", cumulative=False, n_twins=0, n_permutations=99, labels=str(labels))
    of_beats = hl.Ablation(how="zero", cumulative=False, n_twins=0, n_permutations=99)
    beats = hl.load("ppg-sim-beat"), hl.simulated("ppg", 2, 1)
    for ablation, detector, seen, merits in (
        (of_records, model, windows, ["af_auc", "af_f1", "af_brier", "af_calibration_error"]),
        (of_beats, *beats, ["beat_f1"]),
    ):
        plain = hl.run(ablation, detector, seen)
        own = hl.run(ablation, hl.with_readout(detector, "margin", lambda outputs, windows: outputs[:, :, -1, 0]), seen)
        for name in ("intact", "effect"):
            np.testing.assert_allclose(own[name].sel(readout=merits), plain[name].sel(readout=merits))
        assert "margin, zero" in ablation.findings(own).verdict[1]


@pytest.mark.parametrize("of", [lambda outputs, windows: outputs[:, :, -1], lambda outputs, windows: outputs[:, :, -1, 0] / 0])
def test_readouts_that_cannot_be(of):
    judged = hl.with_readout(hl.load("ecg-sim"), "mine", of)
    with pytest.raises(Refusal, match="the readout 'mine' gave"):
        hl.compared_checkpoints(judged, hl.with_readout(hl.load("ecg-sim"), "mine", of), hl.simulated("ecg", 2, 1))
    with pytest.raises(Refusal, match="cannot be added"):
        hl.with_readout(judged, "mine", of)
    with pytest.raises(Refusal, match="give a number above 0 and its unit"):
        hl.with_readout(judged, "another", of, (0.0, "tokens"))
    taken = hl.with_readout(hl.load("ecg-sim"), "cross_entropy", lambda outputs, windows: outputs[:, :, -1, 0])
    with pytest.raises(Refusal, match="the model has one of that name"):
        hl.compared_checkpoints(taken, taken, hl.simulated("ecg", 2, 1))
