"""State dicts that are not exactly one HeartGPT model, refused by the tensor's name; and the command `verify`."""

import json

import pytest
import torch
from originals import scale_attention, tiny_state

from heartlens.converters import certificate
from heartlens.converters.__main__ import main
from heartlens.converters.bridge import converted_model
from heartlens.refusal import Refusal

HEAD = "blocks.1.sa.heads.2.key.weight"
BIAS = "blocks.0.ffwd.net.2.bias"


@pytest.mark.parametrize("name", list(tiny_state()))
def test_every_missing_tensor_is_named(name):
    state = tiny_state()
    del state[name]
    with pytest.raises(Refusal, match=rf"(missing: {name}|'{name}' is missing)"):
        converted_model(state)


@pytest.mark.parametrize("name", ["module.ln_f.weight", "blocks.9.ln1.weight", "blocks.999999999.ln1.weight", "lm_head.linear1.0.bias"])
def test_a_left_over_tensor_is_named(name):
    with pytest.raises(Refusal, match=f"left over: {name}"):
        converted_model(tiny_state() | {name: torch.zeros(12)})


def test_both_heads_at_once_are_refused():
    with pytest.raises(Refusal, match=r"left over: lm_head\.weight, lm_head\.bias"):
        converted_model(tiny_state() | tiny_state(task_outputs=1))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (HEAD, torch.zeros(5, 12), rf"mis-shaped: {HEAD} is \(5, 12\) torch.float32, expected floating \(4, 12\)"),
        (HEAD, torch.zeros(4, 12, dtype=torch.int64), rf"mis-shaped: {HEAD} is \(4, 12\) torch.int64"),
        (HEAD, torch.zeros(4, 12, dtype=torch.complex64), rf"mis-shaped: {HEAD} is \(4, 12\) torch.complex64"),
        (BIAS, torch.zeros(1, 12), rf"mis-shaped: {BIAS} is \(1, 12\)"),
        (BIAS, torch.full((12,), torch.nan), f"not finite: {BIAS}"),
        (BIAS, torch.full((12,), torch.inf), f"not finite: {BIAS}"),
        ("token_embedding_table.weight", torch.zeros(17), r"'token_embedding_table.weight' has shape \(17,\); a matrix"),
        ("token_embedding_table.weight", torch.tensor(1.0), r"'token_embedding_table.weight' has shape \(\)"),
        ("position_embedding_table.weight", torch.zeros(40, 11), r"mis-shaped: position_embedding_table.weight is \(40, 11\)"),
        ("lm_head.bias", torch.zeros(16), r"mis-shaped: lm_head.bias is \(16,\)"),
    ],
)
def test_a_tensor_of_another_shape_or_type_or_with_missing_numbers_is_named(name, tensor, message):
    with pytest.raises(Refusal, match=message):
        converted_model(tiny_state() | {name: tensor})


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(tiny_state(), path)
    return path


def test_verify_writes_the_certificate_of_a_good_file(own_file, tmp_path, capsys):
    out = tmp_path / "deep/certificate.json"
    assert main(["verify", str(own_file), "--out", str(out), "--seed", "3"]) == 0
    certificate = json.loads(out.read_text())
    assert certificate["origin"]["checkpoint"] == "mine.pth"
    assert certificate["seed"] == 3
    assert len(certificate["comparisons"]) == 13
    assert all(row["holds"] and row["difference"] <= row["tolerance"] for row in certificate["comparisons"])
    assert "EXCEEDED" not in capsys.readouterr().out


def test_verify_fails_and_says_where_when_the_conversion_is_wrong(own_file, tmp_path, capsys, monkeypatch):
    def wrong_scale(state, **options):
        model = converted_model(state, **options)
        scale_attention(model, 2.0)
        return model

    monkeypatch.setattr(certificate, "converted_model", wrong_scale)
    out = tmp_path / "certificate.json"
    assert main(["verify", str(own_file), "--out", str(out)]) == 1
    assert capsys.readouterr().out.count("EXCEEDED") == 12
    assert [row["place"] for row in json.loads(out.read_text())["comparisons"] if row["holds"]] == ["export"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "ecgg"], "unknown checkpoint 'ecgg'; did you mean 'ecg'?"),
        (["verify", "none.pth"], "no checkpoint file at none.pth"),
        (["verify", "other.pth"], "not a HeartGPT state dict: tensor 'token_embedding_table.weight' is missing"),
        (["verify"], "verify takes one checkpoint; see --help"),
        (["verfy", "ecg"], "unknown command 'verfy'; did you mean 'verify'?"),
        (["verify", "ecg", "--sed", "3"], "unknown option '--sed'; did you mean '--seed'?"),
        (["verify", "ecg", "--seed", "-1"], "'-1' is no whole number from 0"),
        (["verify", "ecg", "ppg"], "verify takes one checkpoint; see --help"),
        (["convert", "mine.pth"], "--out is None; convert writes a .safetensors file"),
        (["list", "ecg"], "list takes no checkpoint"),
        (["fetch", "ecgg"], "unknown checkpoint 'ecgg'; did you mean 'ecg'?"),
        (["verify", "mine.pth", "--out", "mine.pth/certificate.json"], "cannot be written"),
    ],
)
def test_verify_refuses_in_one_line_and_writes_nothing(arguments, message, own_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(3)}, "other.pth")
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
