"""The model card inside a .safetensors file: JSON text under the metadata key "card".

It says what the weights are, so that a file can be passed on alone. KEYS must be there, others are free ("data", "split", "metrics",
"versions", "is_not"). A file without a card is a good file; a card that is damaged is refused.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from heartlens.axes import KINDS
from heartlens.checkpoints.read import write_state
from heartlens.refusal import Refusal, reason_of, unknown

Card = dict[str, Any]
KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "kind": (str,),
    "task": (str, type(None)),
    "threshold": (float, int, type(None)),
    "licence": (str,),
    "citation": (str,),
}


def read_card(path: Path) -> Card:
    """The card in `path`; empty where the file has none or is no safetensors file. Refuses a damaged card."""
    text = _metadata(path).get("card")
    if text is None:
        return {}
    try:
        card = json.loads(text)
    except ValueError as error:
        raise Refusal(f"{path}: its model card is damaged ({reason_of(error)}); write it with write_with_card") from error
    return checked(card, path)


def write_with_card(state: dict[str, Tensor], path: Path, card: Card) -> None:
    """Write `state` with its card as safetensors, atomically. Refuses a card that `read_card` would refuse."""
    write_state(state, path, {"card": json.dumps(checked(card, path))})


def checked(card: object, path: Path) -> Card:
    """The card, if it has all KEYS, of their types, and a known kind of signal."""
    if not isinstance(card, dict):
        raise Refusal(f"{path}: its model card is a {type(card).__name__}, not an object with {', '.join(KEYS)}")
    for key, types in KEYS.items():
        if key not in card or not isinstance(card[key], types):
            legal = " or ".join("null" if each is type(None) else each.__name__ for each in types)
            given = repr(card[key]) if key in card else "missing"
            raise Refusal(f"{path}: its model card is damaged: {key!r} is {given}; legal: {legal}")
    if card["kind"] not in KINDS:
        raise unknown(f"kind of signal in the model card of {path}:", card["kind"], KINDS)
    return card


def _metadata(path: Path) -> dict[str, str]:
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):  # whoever reads the tensors refuses it
        return {}
