"""Parts taken away by weights that are zero: the numbers of the hooks, through every engine and analysis, and from the command line."""

import shlex

import numpy as np
import pytest
import torch

import heartlens as hl
from heartlens.__main__ import analyses
from heartlens.__main__ import run as heartlens
from heartlens.analyses.attention_cycles import AttentionCycles
from heartlens.analyses.attention_shift import AttentionShift
from heartlens.analyses.attribution import Attribution
from heartlens.analyses.continuation import Continuation
from heartlens.analyses.homonyms import Homonyms
from heartlens.analyses.previous_beat import PreviousBeat
from heartlens.analysis import measure
from heartlens.models.nulls.twins import initial, twins
from heartlens.models.subject import subject_of
from heartlens.models.without import without
from heartlens.parts import listed, part_named
from heartlens.refusal import Refusal
from heartlens.signals.simulate import ecg

PARTS = {"heads": [(1, 2), (0, 3)], "mlps": [2], "layers": [0]}
NAMES = [part_named(name) for name in ("L2H3", "L1H4", "MLP3", "L1")]


@pytest.fixture(scope="module")
def model():
    return hl.load("ecg-sim")


@pytest.fixture(scope="module")
def windows():
    return hl.simulated("ecg", 3, 1, seed=2)


@pytest.mark.parametrize("names", ["L2H3", "MLP1", "L3", "L2H3,L1H4,MLP3,L1"])
@pytest.mark.parametrize("engine", ["fused", "torch", "hooked"])
def test_every_engine_gives_the_numbers_of_the_hooks(model, windows, names, engine):
    parts = [part_named(name) for name in names.split(",")]
    given = {"heads": [(part.layer, part.head) for part in parts if part.head is not None]}
    given |= {"mlps": [part.layer for part in parts if part.is_mlp]}
    given |= {"layers": [part.layer for part in parts if part.head is None and not part.is_mlp]}
    tokens = torch.from_numpy(windows.tokens.astype("int64"))
    with torch.inference_mode(), hl.ablated(model, **given):
        expected = model(tokens)
    subject = subject_of(without(model, parts), engine)
    with torch.inference_mode():
        outputs = subject.engine.outputs(subject.engine.run_blocks(subject.engine.embed(tokens), 0))
        torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-4)
        assert (expected - model(tokens)).abs().max() > 0.01
    assert subject.edits == f"ablated {listed(parts)}, zero"
    assert subject_of(model).edits == ""


@pytest.mark.parametrize(
    "analysis",
    [
        hl.HeadScan(n_twins=0, n_rotations=2),
        AttentionCycles(n_twins=0),
        Homonyms(n_twins=0, n_shuffles=2),
        PreviousBeat(n_twins=0),
        Attribution(n_twins=0, n_steps=2),
    ],
    ids=lambda analysis: type(analysis).__name__,
)
def test_analyses_count_as_within_ablated(model, windows, analysis):
    parts = [part_named(name) for name in ("L2H3", "MLP1")]
    edited = measure(analysis, without(model, parts), windows)
    with hl.ablated(model, heads=[(1, 2)], mlps=[0], may_equal=True):  # attribution asks what heads add that mix nothing
        expected = measure(analysis, model, windows)
    assert (edited.attrs["engine"], expected.attrs["engine"]) == ("fused", "hooked")
    assert edited.attrs["edits"] == expected.attrs["edits"] == "ablated L2H3,MLP1, zero"
    intact = measure(analysis, model, windows)
    changed = 0.0
    for name, sums in expected.tally.sums.data_vars.items():
        if np.issubdtype(sums.dtype, np.floating):
            scale = float(np.nanmax(np.abs(sums.values), initial=1e-9))
            most = 1e-3 if name == "attribution_patching" else 2e-4  # a gradient times a difference: both are rounded
            np.testing.assert_allclose(edited.tally.sums[name], sums, rtol=0, atol=most * scale, err_msg=str(name))
            changed = max(changed, float(np.nanmax(np.abs(intact.tally.sums[name].values - sums.values), initial=0)) / scale)
    assert changed > 1e-3


def test_a_signal_goes_on_as_without_the_part(model, windows):
    """Which the hooks of `ablated` cannot do; the intact model without a head, as `continuation` itself takes it away, gives the same."""
    analysis, head = Continuation(n_prompt=400, n_draws=1, n_reference=2, how="zero"), part_named("L2H3")
    edited, intact = (measure(analysis, each, windows[:1]).tally.sample["continued"] for each in (without(model, [head]), model))
    assert edited.sel(variant="intact").values.tolist() == intact.sel(variant="L2H3").values.tolist()
    assert edited.sel(variant="intact").values.tolist() != intact.sel(variant="intact").values.tolist()


def test_twins_are_without_the_same_parts_and_drawn_from_the_intact_weights(model):
    parts = [part_named("L2H3"), part_named("MLP1")]
    edited = without(model, parts)
    assert edited.origin == model.origin
    for made in (twins, initial):
        (_, own), (_, plain) = next(made(edited, 1, seed=4)), next(made(model, 1, seed=4))
        for (name, tensor), other in zip(own.named_parameters(), plain.parameters(), strict=True):
            expected = other.clone()
            if name == "blocks.1.attn.W_O":
                expected[2] = 0
            elif name in ("blocks.0.mlp.W_out", "blocks.0.mlp.b_out"):
                expected[:] = 0
            assert torch.equal(tensor, expected), name


def test_the_base_is_without_the_same_parts(windows):
    tuned = hl.load("ecg-sim-af")
    given = measure(AttentionShift(n_twins=0, n_rotations=1, n_shuffles=1), without(tuned, [part_named("L1")]), windows)
    sums = measure(AttentionShift(n_twins=0, n_rotations=1, n_shuffles=1), tuned, windows).tally.sums
    first = [name for name in sums.data_vars if "layer" in sums[name].dims]
    assert first
    assert all(np.allclose(given.tally.sums[name].isel(layer=0), sums[name].isel(layer=0), atol=1e-4, equal_nan=True) for name in first)


@pytest.mark.parametrize(("parts", "expected"), [("L5", "layers 1 to 4"), ("L1H5", "heads 1 to 4"), ("MLP9", "layers 1 to 4")])
def test_parts_that_are_not_there_are_refused(model, parts, expected):
    with pytest.raises(Refusal, match=expected):
        without(model, [part_named(parts)])


def test_what_adds_nothing_is_refused(model):
    with pytest.raises(Refusal, match="MLP2: it adds nothing"):
        without(without(model, [part_named("L2")]), [part_named("MLP2")])


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"p{number}.npy", ecg.simulate(np.random.default_rng(number), 12.0)[0])
    return folder


def test_every_analysis_of_recordings_takes_it(capsys):
    for name in analyses():
        with pytest.raises(SystemExit):
            heartlens([name, "--help"])
        assert "--ablate PART,..." in capsys.readouterr().out, name


@pytest.mark.parametrize("options", [["head_scan", "--n-rotations", "2"], ["homonyms", "--n-shuffles", "2"]])
def test_a_result_says_what_was_ablated_and_is_remade(recordings, tmp_path, monkeypatch, capsys, options):
    name, *rest = options
    given = ["ecg-sim", str(recordings), "--rate", "100", "--n-twins", "2", "--twin-windows", "2", "--n-permutations", "99", *rest]
    given += ["--format", "svg"]
    assert heartlens([name, *given, "--ablate", "mlp1", "L2H3", "--out", str(tmp_path / "o")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "The model was edited: ablated L2H3,MLP1, zero."
    summary = hl.read_summary(tmp_path / "o/summary.nc")
    assert summary.attrs["edits"] == "ablated L2H3,MLP1, zero"
    assert summary.attrs["engine"] == "fused"
    assert "--ablate L2H3,MLP1" in summary.attrs["command"] or "--ablate MLP1,L2H3" in summary.attrs["command"]
    assert "(ablated L2H3,MLP1, zero)" in (tmp_path / "o/report.html").read_text()
    assert heartlens(["remake", str(tmp_path / "o")]) == 0
    monkeypatch.chdir(tmp_path)
    assert heartlens([name, *given, "--ablate", "L2H3", "--add", str(tmp_path / "o/tally.nc"), "--out", "b"]) == 2
    assert "differ in edits" in capsys.readouterr().err


def test_shards_of_an_edited_model_are_joined_to_one_run(recordings, tmp_path):
    given = ["head_scan", "ecg-sim", str(recordings), "--rate", "100", "--n-twins", "2", "--n-rotations", "2", "--ablate", "L2H3"]
    given += ["--format", "svg", "--quiet"]
    assert heartlens([*given, "--out", str(tmp_path / "whole")]) == 0
    for number in ("1", "2"):
        assert heartlens([*given, "--shard", f"{number}/2", "--out", str(tmp_path / number)]) == 0
    assert heartlens(["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "m"), "--format", "svg"]) == 0
    whole, joined = (hl.read_summary(tmp_path / name / "summary.nc") for name in ("whole", "m"))
    assert joined.drop_attrs().equals(whole.drop_attrs())
    assert joined.attrs["edits"] == "ablated L2H3, zero"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("head_scan ecg-sim --ablate L4H1", "nothing comes after the last layer (4)"),
        ("previous_beat ecg-sim --ablate L1,MLP4", "--ablate MLP4"),
        ("attention_cycles ecg-sim --ablate L1H1 --weights value", "legal: MLPs"),
        ("homonyms ecg-sim --ablate L5", "layers 1 to 4"),
        ("head_scan ecg-sim --ablate H4", "names no part; legal: heads as L4H5"),
        ("head_scan ecg-sim --ablate L0H1", "names no part"),
        ("head_scan ecg-sim --ablate ,", "empty value"),
        ("attention ecg-sim --ablate MLP4", "nothing comes after"),
        ("tokenize ecg-sim --ablate L1", "--ablate"),
    ],
)
def test_what_is_refused(recordings, tmp_path, capsys, monkeypatch, command, expected):
    monkeypatch.chdir(tmp_path)
    name, *given = shlex.split(command)
    try:
        code = heartlens([name, *given, str(recordings / "p0.npy"), "--rate", "100", "--out", "o"])
    except Refusal as refusal:
        code, text = 2, str(refusal)
    else:
        text = capsys.readouterr().err
    assert (code, "\n" in text.strip()) == (2, False)
    assert expected in text
    assert not (tmp_path / "o").exists()


def test_classify_and_beats_run_edited(recordings, tmp_path, capsys):
    from heartlens.signals.simulate import ppg

    tuned, windows = hl.load("ecg-sim-af"), hl.read(recordings / "p1.npy", rate_hz=100.0, kind="ecg")
    given = ["ecg-sim-af", str(recordings / "p1.npy"), "--rate", "100", "--ablate", "L2H3,MLP1", "--no-page"]
    assert heartlens(["classify", *given, "--out", str(tmp_path / "c")]) == 0
    assert "The model was edited: ablated L2H3,MLP1, zero." in capsys.readouterr().out
    logits = hl.read_summary(tmp_path / "c/summary.nc")["logit"].values
    with torch.inference_mode(), hl.ablated(tuned, heads=[(1, 2)], mlps=[0]):
        expected = tuned(torch.from_numpy(windows.tokens.astype("int64")))[:, -1, 0].numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)
    assert heartlens(["remake", str(tmp_path / "c")]) == 0
    np.save(tmp_path / "pulse.npy", ppg.simulate(np.random.default_rng(0), 30.0)[0])
    for out, options in (("b", []), ("e", ["--ablate", "L1"])):
        heartlens(["beats", "ppg-sim-beat", str(tmp_path / "pulse.npy"), "--rate", "50", *options, "--out", str(tmp_path / out)])
    assert (tmp_path / "b/beats.csv").read_text() != (tmp_path / "e/beats.csv").read_text()
