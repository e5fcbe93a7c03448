"""Files that hold a state dict, and the many that do not: each refused in one line, none run, none unpacked beyond the cap."""

import io
import os
import random
import struct
import zipfile

import pytest
import torch
from originals import pickled, zipped
from safetensors.torch import save

from heartlens.checkpoints import read
from heartlens.checkpoints.read import fingerprint, read_state, write_state
from heartlens.refusal import Refusal

STATE = {"ln_f.weight": torch.arange(3.0), "lm_head.bias": torch.arange(4.0).reshape(2, 2) * 0.1}
TRIL = "blocks.7.sa.heads.0.tril"
GOOD = {".pth": pickled(STATE), ".pt": pickled(STATE), ".zip": zipped({"model.pth": pickled(STATE)}), ".safetensors": save(STATE)}


class Bomb:
    """A pickle that makes a folder when it is read."""

    def __reduce__(self):
        return os.mkdir, ("pickle_was_run",)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """`refused(content, message, suffix)`: a file of that content is refused so, in one line, and nothing appears beside it."""
    monkeypatch.chdir(tmp_path)

    def check(content, message, suffix=".zip"):
        path = tmp_path / f"given{suffix}"
        path.write_bytes(content)
        with pytest.raises(Refusal, match=message) as caught:
            read_state(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == [path]

    return check


@pytest.mark.parametrize("suffix", list(GOOD))
def test_every_format_gives_the_same_tensors_and_fingerprint(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(GOOD[suffix])
    state = read_state(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert fingerprint(state) == fingerprint(STATE)


def test_the_fingerprint_depends_on_names_shapes_types_and_every_bit_but_not_on_order():
    assert fingerprint(dict(reversed(STATE.items()))) == fingerprint(STATE)
    bias = STATE["lm_head.bias"]
    bits = bias.clone()
    bits.view(torch.int32)[1, 1] ^= 1
    others = [{"lm_head.bias": other} for other in (bias.reshape(4), bias.view(torch.int32), bias.T, bits)]
    others += [{"lm_head.bias": None, "lm_head.weight": bias}]
    changed = [{name: tensor for name, tensor in (STATE | other).items() if tensor is not None} for other in others]
    assert len({fingerprint(state) for state in (STATE, *changed)}) == 6


def test_causal_masks_are_dropped_and_others_refused(refused, tmp_path):
    path = tmp_path / "given.pth"
    path.write_bytes(pickled(STATE | {TRIL: torch.ones(5, 5).tril()}))
    assert read_state(path).keys() == STATE.keys()
    for mask in (torch.ones(5, 5), torch.ones(5, 5).tril(1), torch.ones(5, 5).tril() * 2, torch.ones(5)):
        refused(pickled(STATE | {TRIL: mask}), f"{TRIL} is not a causal mask", ".pth")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.pth": b"", "b.pth": b""}, r"2 members \(a.pth, b.pth\)"),
        ({}, "0 members"),
        ({"../evil.pth": GOOD[".pth"]}, r"'../evil.pth'; a checkpoint zip holds exactly one .pth, by its plain name"),
        ({"folder/../../evil.pth": GOOD[".pth"]}, "by its plain name"),
        ({"/tmp/evil.pth": GOOD[".pth"]}, r"'/tmp/evil.pth'"),
        ({"model.exe": GOOD[".pth"]}, "'model.exe'"),
        ({"model.pth": b"<html>log in</html>"}, "does not hold a state dict that can be read safely"),
    ],
)
def test_zips_of_other_things(refused, members, message):
    refused(zipped(members), message)


def with_flag(content, flag):
    """The zip with a bit set in the flags of its only member, in both of its headers."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[content.index(signature) + offset] |= flag
    return bytes(changed)


def test_damaged_zips(refused):
    good = GOOD[".zip"]
    flipped = bytearray(good)
    flipped[60] ^= 0xFF
    for content in (good[: len(good) // 2], good[:-10], b"PK\x03\x04 nothing", b"", bytes(flipped), with_flag(good, 1)):
        refused(content, "is not a readable zip .*; it may be truncated: fetch it again")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("suffix", list(GOOD))
def test_a_file_damaged_anywhere_is_read_or_refused_but_never_crashes(tmp_path, suffix):
    draw, path = random.Random(0), tmp_path / f"given{suffix}"
    n_refused = 0
    for _ in range(150):
        content = bytearray(GOOD[suffix])
        for _ in range(3):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            read_state(path)
        except Refusal:
            n_refused += 1
    assert n_refused > 20


def test_a_zip_bomb_is_refused_by_what_it_declares_and_by_what_it_holds(refused, monkeypatch):
    monkeypatch.setattr(read, "MAX_BYTES", 1 << 20)
    bomb = zipped({"model.pth": b"\0" * (2 << 20)})
    refused(bomb, r"unpacks to 2 MiB; that is no HeartGPT checkpoint \(at most 1 MiB\)")
    lying = bytearray(bomb)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", lying, lying.index(signature) + offset, 100)
    refused(bytes(lying), "is not a readable zip|unpacks to more than")


def test_what_a_zip_holds_is_counted_even_where_its_reader_believes_the_declaration(refused, monkeypatch):
    monkeypatch.setattr(read, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(read, "_the_member", lambda archive, path: archive.infolist()[0])
    refused(zipped({"model.pth": b"\0" * (2 << 20)}), "unpacks to more than 1 MiB")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".zip"])
@pytest.mark.parametrize("content", [Bomb(), {"ln_f.weight": Bomb()}, {"ln_f.weight": torch.ones(2), "other": Bomb()}])
def test_a_pickle_that_executes_code_is_refused_unrun(refused, suffix, content):
    stored = pickled(content)
    refused(zipped({"model.pth": stored}) if suffix == ".zip" else stored, "cannot|can be read safely", suffix)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ([torch.ones(2)], "list"),
        (torch.ones(2), "Tensor"),
        ({}, "a dict that is empty"),
        ({"epoch": 3, "ln_f.weight": torch.ones(2)}, "a dict that is empty or holds other things than tensors"),
        ({"model": {"ln_f.weight": 2}}, "other things than tensors"),
    ],
)
def test_pickles_of_other_things(refused, content, held):
    refused(pickled(content), f"holds {held}.*not a state dict of tensors by name; save it with", ".pth")


def test_safetensors_of_other_things(refused):
    for content in (b"", b"garbage", GOOD[".safetensors"][:-3], GOOD[".zip"]):
        refused(content, "is not a readable safetensors file", ".safetensors")


def test_other_suffixes_and_missing_files_are_refused(refused, tmp_path):
    refused(GOOD[".pth"], r"is no checkpoint file; legal: .zip, .pth, .pt, .safetensors", ".bin")
    with pytest.raises(Refusal, match=r"no checkpoint file at .*none\.pth"):
        read_state(tmp_path / "none.pth")


def test_writing_that_fails_leaves_nothing(tmp_path):
    occupied = tmp_path / "folder.safetensors"
    (occupied / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"folder\.safetensors"):
        write_state(STATE, occupied, {})
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


OWN = {"token_embedding_table.weight": torch.arange(6.0).reshape(3, 2), "ln_f.bias": torch.arange(2.0)}
OTHER = {name: tensor + 1 for name, tensor in OWN.items()}


def prefixed(prefix, state=OWN):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "content",
    [
        OWN,
        prefixed("_orig_mod."),
        prefixed("module."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        prefixed("module.module."),
        {"n_averaged": torch.tensor(7), **prefixed("module.")},
        {"model": OWN},
        {"epoch": 3, "model_state_dict": prefixed("module."), "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}},
        {"state_dict": OWN, "ema_decay": 0.99, "scheduler": {"last": torch.tensor(1.0)}},
        {"checkpoint": {"model": OWN, "step": 4}},
    ],
)
def test_the_weights_of_wrapped_models_and_training_dictionaries(tmp_path, content, capsys):
    path = tmp_path / "own.pth"
    path.write_bytes(pickled(content))
    state = read_state(path)
    assert list(state) == list(OWN)
    assert all(torch.equal(state[name], OWN[name]) for name in OWN)
    is_plain = all(isinstance(value, torch.Tensor) for value in content.values())
    assert ("the weights are those under" in capsys.readouterr().err) != is_plain


def test_of_several_state_dicts_one_must_be_named(tmp_path, refused):
    content = pickled({"model": OWN, "ema": OTHER, "step": 3})
    refused(content, r"holds several state dicts \(ema, model\); name one: given.pth#ema", ".pth")
    path = tmp_path / "given.pth"
    path.write_bytes(content)
    assert torch.equal(read_state(path, "ema")["ln_f.bias"], OTHER["ln_f.bias"])
    with pytest.raises(Refusal, match="unknown key 'emma'; did you mean 'ema'"):
        read_state(path, "emma")


def test_two_tensors_of_one_name_are_refused(refused):
    refused(pickled({**OWN, **prefixed("_orig_mod.", OTHER)}), "two tensors have one name", ".pth")


def test_tensors_that_claim_more_than_they_hold_are_refused_at_once(refused):
    huge = torch.zeros(1).as_strided((10**6, 10**6), (0, 0))
    refused(pickled({"token_embedding_table.weight": huge}), "claims .*more numbers than the file holds", ".pth")
    refused(pickled({"a": torch.zeros(2, device="meta")}), "no plain tensor|read safely", ".pth")
    refused(
        pickled({"a": torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (10**9, 10**9), check_invariants=True)}),
        "no plain tensor|read safely",
        ".pth",
    )
    refused(pickled({f"a{number}": torch.zeros(()) for number in range(20_001)}), "holds 20001 tensors", ".pth")


def test_a_pth_whose_members_are_packed_is_no_bomb(refused, monkeypatch):
    monkeypatch.setattr(read, "MAX_BYTES", 1 << 20)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pickled(OWN))) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in plain.infolist():
            archive.writestr(member.filename, plain.read(member))
        archive.writestr("archive/data/9", bytes(2 << 20))
    refused(packed.getvalue(), "unpacks to 2 MiB", ".pth")
