"""`load` and `read`: names, aliases, own files, the cache of tensors, and the kinds of signal."""

import logging

import pytest
import torch
from originals import pickled, tiny_state, zipped
from safetensors.torch import save

from heartlens.checkpoints import kept
from heartlens.checkpoints.card import write_with_card
from heartlens.checkpoints.read import fingerprint
from heartlens.models.load import device_named, load, read
from heartlens.models.origin import Origin, origin_of
from heartlens.refusal import Refusal
from heartlens.whole import sha256_of

NAME, FILE = "ecgpt-560k", "ECGPT_560k_iters.zip"


@pytest.fixture
def found(fake_zip, monkeypatch, tmp_path):
    """The published zip, lying in a searched folder; nothing may be downloaded."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / FILE).write_bytes(fake_zip)
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(folder))
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    return folder / FILE


def cached(tmp_path):
    return list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("name", [NAME, "ecg"])
def test_a_published_name_and_its_alias_give_the_model_and_its_origin(found, small, name):
    model = load(name)
    assert torch.equal(model.W_E, small["token_embedding_table.weight"])
    assert not model.training
    origin = origin_of(model)
    assert (origin.checkpoint, origin.kind, origin.task, origin.licence, origin.processing) == (NAME, "ecg", None, "MIT", "none")
    assert origin.fingerprint == fingerprint(small)
    assert origin.sha256 == sha256_of(found)


def test_processing_and_precision_are_said_and_done(found):
    model = load(NAME, fold_ln=True, center_writing_weights=True, dtype=torch.float64)
    assert origin_of(model).processing == "fold_ln, center_writing_weights"
    assert model.W_E.dtype == torch.float64
    assert model.cfg.normalization_type == "LNPre"


def test_the_second_load_takes_the_cached_tensors_and_reads_no_zip(found, monkeypatch, tmp_path):
    first = read(NAME)
    monkeypatch.setattr(kept, "read_state", lambda path: pytest.fail("the zip was read again"))
    again = read(NAME)
    found.unlink()
    alone = read(NAME)
    assert first[1] == again[1] == alone[1]
    assert len(cached(tmp_path)) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b[:-1] + b"\x55", lambda b: b"", lambda b: save({"a": torch.ones(1)})])
def test_a_damaged_cache_is_ignored_and_written_anew(found, small, tmp_path, monkeypatch, damage):
    read(NAME)
    (file,) = cached(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    assert fingerprint(read(NAME)[0]) == fingerprint(small)
    monkeypatch.setattr(kept, "read_state", lambda path: pytest.fail("the cache was not written anew"))
    assert fingerprint(read(NAME)[0]) == fingerprint(small)


def test_a_cache_that_vouches_for_itself_is_not_believed(found, small, tmp_path):
    """Other weights of the right shapes, with their own fingerprint in the file, as they were written by this program once."""
    read(NAME)
    (file,) = cached(tmp_path)
    forged = {name: tensor + 1 for name, tensor in small.items()}
    file.write_bytes(save({name: tensor.contiguous() for name, tensor in forged.items()}, {"fingerprint": fingerprint(forged)}))
    assert fingerprint(read(NAME)[0]) == fingerprint(small)


def test_a_cache_that_cannot_be_written_only_warns(found, small, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "file/cache"))
    with caplog.at_level(logging.WARNING, "heartlens"):
        assert fingerprint(read(NAME)[0]) == fingerprint(small)
    assert "cannot be written" in caplog.text
    assert "the next load reads the zip again" in caplog.text


def test_a_wrong_zip_is_refused_even_where_good_tensors_are_cached(found):
    read(NAME)
    found.write_bytes(b"other")
    with pytest.raises(Refusal, match="published is"):
        read(NAME)


def test_a_published_name_is_never_a_file_of_that_name(found, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ecg").write_text("notes")
    assert read("ecg")[1].checkpoint == NAME


@pytest.fixture
def own(tmp_path, small):
    """`own(suffix, state)`: the path of one's own file."""

    def written(suffix, state=small):
        path = tmp_path / f"mine{suffix}"
        path.write_bytes({".pth": pickled, ".zip": lambda s: zipped({"m.pth": pickled(s)}), ".safetensors": save}[suffix](state))
        return path

    return written


def test_own_files_of_every_format_are_one_model(own, small):
    origins = [read(own(suffix))[1] for suffix in (".pth", ".zip", ".safetensors")]
    assert {origin.fingerprint for origin in origins} == {fingerprint(small)}
    assert len({origin.sha256 for origin in origins}) == 3
    assert [origin.checkpoint for origin in origins] == ["mine.pth", "mine.zip", "mine.safetensors"]
    assert {origin.kind for origin in origins} == {"ecg"}
    assert load(str(own(".pth"))).origin.task is None


def test_a_task_head_is_told_by_its_tensors(own):
    assert read(own(".pth", tiny_state(task_outputs=1)))[1].task == "task head"


@pytest.mark.parametrize(("vocabulary", "kind", "expected"), [(17, None, None), (17, "ecg", "ecg"), (17, "ppg", "ppg"), (102, None, "ppg")])
def test_the_kind_is_the_vocabularys_or_the_one_given(own, vocabulary, kind, expected):
    assert load(own(".pth", tiny_state(vocabulary=vocabulary)), kind=kind).origin.kind == expected


CARD = {"name": "m", "kind": "ppg", "task": "atrial fibrillation (last token)", "threshold": 0.4, "licence": "CC0", "citation": "us"}


def test_a_file_with_a_card_is_what_its_card_says(tmp_path):
    state = tiny_state(vocabulary=17, task_outputs=1)
    write_with_card(state, tmp_path / "fine.safetensors", CARD | {"data": "ours"})
    model = load(tmp_path / "fine.safetensors")
    origin = model.origin
    assert (origin.checkpoint, origin.kind, origin.task) == ("fine.safetensors", "ppg", "atrial fibrillation (last token)")
    assert (origin.licence, origin.citation, origin.fingerprint) == ("CC0", "us", fingerprint(state))
    assert origin.sha256 == sha256_of(tmp_path / "fine.safetensors")
    assert model.card == CARD | {"data": "ours"}
    assert load(tmp_path / "fine.safetensors", kind="ppg").origin == origin
    assert read(tmp_path / "fine.safetensors")[1] == origin


def test_a_card_that_contradicts_caller_or_vocabulary_is_refused(tmp_path, small):
    write_with_card(tiny_state(vocabulary=17), tmp_path / "fine.safetensors", CARD)
    write_with_card(small, tmp_path / "wrong.safetensors", CARD)
    with pytest.raises(Refusal, match=r"fine\.safetensors is a model of ppg by its model card, not of ecg"):
        load(tmp_path / "fine.safetensors", kind="ecg")
    with pytest.raises(Refusal, match=r"wrong\.safetensors has the vocabulary of ecg \(101 tokens\), not of ppg"):
        load(tmp_path / "wrong.safetensors")
    with pytest.raises(Refusal, match=r"wrong\.safetensors is a model of ppg by its model card, not of ecg"):
        load(tmp_path / "wrong.safetensors", kind="ecg")


def test_a_file_without_a_card_gives_an_empty_one(own, found):
    assert load(own(".safetensors")).card == load(own(".pth")).card == load(NAME).card == {}


def test_contradictions_and_unknown_kinds_are_refused(own, found):
    with pytest.raises(Refusal, match=r"mine\.pth has the vocabulary of ecg \(101 tokens\), not of ppg"):
        load(own(".pth"), kind="ppg")
    with pytest.raises(Refusal, match="ecgpt-560k reads ECG, not PPG"):
        load("ecg", kind="ppg")
    with pytest.raises(Refusal, match="unknown kind of signal 'ekg'; did you mean 'ecg'"):
        load("ecg", kind="ekg")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ecg-afib", "unknown checkpoint 'ecg-afib'; did you mean 'ecg-af'"),
        ("ECG", "unknown checkpoint 'ECG'"),
        ("ecgpt-560", "did you mean 'ecgpt-560k'"),
        ("", "unknown checkpoint ''"),
        ("none.pth", "no checkpoint file at none.pth"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(Refusal, match=message):
        load(name)


def test_own_files_of_other_models_are_refused_by_tensor(own):
    with pytest.raises(Refusal, match=r"tensor 'token_embedding_table\.weight' is missing"):
        read(own(".pth", {"conv.weight": torch.ones(2)}))
    with pytest.raises(Refusal, match=r"'token_embedding_table\.weight' has shape \(\)"):
        read(own(".pth", tiny_state() | {"token_embedding_table.weight": torch.tensor(1.0)}))


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (device_named("cpu"), device_named("auto")) == ("cpu", "cpu")
    with pytest.raises(Refusal, match="no CUDA device is here; legal: auto, cpu"):
        device_named("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (device_named("cpu"), device_named("auto"), device_named("cuda")) == ("cpu", "cuda", "cuda")


def test_a_foreign_model_is_what_its_configuration_tells(own):
    model = load(own(".pth"))
    assert isinstance(origin_of(model), Origin)
    del model.origin
    model.cfg.model_name = "theirs"
    assert origin_of(model) == Origin("theirs", "ecg", None, "", "", "unknown", "", "unknown")
    model.cfg.model_name, model.cfg.d_vocab = None, 50
    assert origin_of(model) == Origin("unnamed HookedTransformer", None, None, "", "", "unknown", "", "unknown")


@pytest.mark.parametrize("name", ["compiled.pth", "training_dict.pth", "plain.pth", "training_dict.pth#model_state_dict"])
def test_case_23_own_checkpoints_are_one_model(shared, name):
    folder = shared / "cases/23-own-checkpoints"
    assert read(folder / name, "ecg")[1].fingerprint == read(folder / "plain.pth", "ecg")[1].fingerprint


@pytest.mark.parametrize("value", [1e300, -1e39, float("nan")])
def test_a_value_that_float32_cannot_hold_is_refused(tmp_path, value):
    state = {name: tensor.double() for name, tensor in tiny_state().items()}
    state["ln_f.bias"][0] = value
    torch.save(state, tmp_path / "own.pth")
    with pytest.raises(Refusal, match=r"not finite: ln_f\.bias"):
        load(tmp_path / "own.pth", kind="ecg")


def test_heads_and_layers_that_are_only_names_cost_nothing(tmp_path):
    state = tiny_state() | {f"blocks.0.sa.heads.{number}.x": torch.zeros(()) for number in range(4000)}
    state |= {f"blocks.{number}.x": torch.zeros(()) for number in range(4000)}
    torch.save(state, tmp_path / "own.pth")
    with pytest.raises(Refusal, match="layers of 4000 heads, but"):
        load(tmp_path / "own.pth", kind="ecg")
