"""The model card travels inside the file; what is damaged is refused, what has none is a good file."""

import json

import pytest
import torch
from originals import pickled, tiny_state
from safetensors.torch import save

from heartlens.checkpoints.card import KEYS, read_card, write_with_card
from heartlens.checkpoints.read import fingerprint, read_state
from heartlens.refusal import Refusal

CARD = {"name": "mine", "kind": "ppg", "task": "beat (every token)", "threshold": 0.5, "licence": "CC BY 4.0", "citation": "me, 2026"}
FREE = {"data": {"source": "wards", "n": 3}, "is_not": "a medical device", "metrics": {"auc": 0.91}, "name": "Müller"}


@pytest.mark.parametrize("card", [CARD, CARD | FREE, CARD | {"task": None, "threshold": None}, CARD | {"threshold": 1}])
def test_a_card_is_read_as_it_was_written_and_the_tensors_too(tmp_path, card):
    path, state = tmp_path / "deep" / "mine.safetensors", tiny_state()
    write_with_card(state, path, card)
    assert read_card(path) == card
    assert fingerprint(read_state(path)) == fingerprint(state)
    assert [file.name for file in path.parent.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", save({"a": torch.ones(1)})),
        ("b.safetensors", save({"a": torch.ones(1)}, {"other": "x"})),
        ("c.safetensors", b"garbage"),
        ("d.pth", pickled({"card": torch.ones(1)})),
    ],
)
def test_files_without_a_card(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_card(tmp_path / name) == {}


DAMAGED = {
    "no JSON": ("{", r"its model card is damaged \(Expecting property name"),
    "no object": ('["ecg"]', "its model card is a list, not an object with name, kind, task"),
    "unknown kind": (json.dumps(CARD | {"kind": "ekg"}), "unknown kind of signal in the model card of .* 'ekg'; did you mean 'ecg'"),
    "wrong type": (json.dumps(CARD | {"threshold": "high"}), "'threshold' is 'high'; legal: float or int or null"),
    "null name": (json.dumps(CARD | {"name": None}), "'name' is None; legal: str"),
}


@pytest.mark.parametrize(("text", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_cards_are_refused_by_file_and_reason(tmp_path, text, message):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(save({"a": torch.ones(1)}, {"card": text}))
    with pytest.raises(Refusal, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("key", list(KEYS))
def test_a_card_without_a_key_is_neither_read_nor_written(tmp_path, key):
    path, card = tmp_path / "mine.safetensors", {name: value for name, value in CARD.items() if name != key}
    with pytest.raises(Refusal, match=f"{key!r} is missing"):
        write_with_card(tiny_state(), path, card)
    assert not path.exists()
    path.write_bytes(save({"a": torch.ones(1)}, {"card": json.dumps(card)}))
    with pytest.raises(Refusal, match=f"{key!r} is missing"):
        read_card(path)
