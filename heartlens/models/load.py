"""`load`: a checkpoint by exact name, alias or path, as a plain HookedTransformer (TransformerLens 4: a bridge) that knows its origin.

An exact name is never replaced. An alias means the published checkpoint or, where that can neither be found nor downloaded, the embedded
one; a line on stderr then says so, once in a process, and `origin` names what was loaded.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from heartlens.axes import KINDS
from heartlens.checkpoints.card import Card, read_card
from heartlens.checkpoints.fetch import Unavailable, embedded_path
from heartlens.checkpoints.head import head_of
from heartlens.checkpoints.kept import read_published
from heartlens.checkpoints.read import SUFFIXES, State, fingerprint, read_state
from heartlens.checkpoints.registry import ALIASES, CHECKPOINTS, EMBEDDED, NAMES, Checkpoint, published
from heartlens.converters.bridge import converted_model
from heartlens.converters.hooked import check
from heartlens.converters.lens import HookedTransformer, unmask
from heartlens.converters.sizes import sizes_of
from heartlens.converters.weights import Weights, weights_of
from heartlens.file_key import split_key
from heartlens.models.origin import Origin, kind_of_vocabulary
from heartlens.models.subject import Subject, subject_of
from heartlens.models.without import without
from heartlens.parts import Part
from heartlens.refusal import Refusal, unknown
from heartlens.whole import sha256_of

SAID: set[str] = set()  # the aliases whose substitute was announced in this process


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's original state dict, where it comes from, its model card (empty without one), and one's own file."""

    state: State
    origin: Origin
    card: Card
    file: Path | None = None


def load(
    name: str | Path,
    *,
    kind: str | None = None,
    published_only: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    fold_ln: bool = False,
    center_writing_weights: bool = False,
) -> HookedTransformer:
    """The model of a checkpoint ("ecgpt-560k", "ecg-sim", "ecg", ...) or of one's own .pth, .zip or .safetensors file.

    `file.pth#key` takes the weights under that key of a training dictionary.
    `kind` ("ecg" or "ppg") is needed only for one's own file with a vocabulary of its own and no model card. `published_only` refuses
    whatever is not a published checkpoint. `model.origin` says where it comes from, `model.card` is its model card ({} without one),
    `model.file` the file that it was read from (None for a published checkpoint). A last block that was fine-tuned unmasked stays so.
    Refuses unknown names, files that are not HeartGPT state dicts, and a kind that contradicts the vocabulary or the card.
    """
    return _model(_loaded(name, kind, published_only), dtype, device, fold_ln, center_writing_weights)


def load_subject(
    name: str | Path,
    *,
    kind: str | None = None,
    published_only: bool = False,
    device: str = "cpu",
    engine: str = "auto",
    ablate: Sequence[Part] | None = None,
) -> Subject:
    """The checkpoint without the parts `ablate`, with the engine that runs it, by the rules of `load`; `device`: auto, cpu or cuda.

    TransformerLens is not imported before something asks for the subject's `model`, unless the engine must be the hooked one.
    """
    weights = load_weights(name, kind=kind, published_only=published_only, device=device_named(device))
    return subject_of(without(weights, ablate), engine)


def load_weights(name: str | Path, *, kind: str | None = None, published_only: bool = False, device: str = "cpu") -> Weights:
    """The tensors of a checkpoint without hook points, by the rules of `load`."""
    loaded = _loaded(name, kind, published_only)
    weights = weights_of(loaded.state, name=loaded.origin.checkpoint).to(device)
    return _described(weights, loaded)


def _model(loaded: Loaded, dtype: torch.dtype, device: str, fold_ln: bool, center_writing_weights: bool) -> HookedTransformer:
    processing = ", ".join(label for label, on in (("fold_ln", fold_ln), ("center_writing_weights", center_writing_weights)) if on)
    called = loaded.origin.checkpoint
    model = converted_model(loaded.state, dtype=dtype, fold_ln=fold_ln, center_writing_weights=center_writing_weights, name=called)
    model = _described(model, replace(loaded, origin=replace(loaded.origin, processing=processing or "none")))
    return model if device == "cpu" else model.to(device, print_details=False)


def _described(model: Any, loaded: Loaded) -> Any:
    """The model with its origin, card and file, and unmasked where it was fine-tuned so."""
    model.origin, model.card, model.file = loaded.origin, loaded.card, loaded.file
    head = head_of(loaded.card)
    if head and head.unmasked:
        unmask(model.blocks[-1])
    return model


def device_named(name: str) -> str:
    """ "cpu" or "cuda"; "auto" is CUDA where there is a device. Refuses CUDA where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise Refusal("no CUDA device is here; legal: auto, cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def read(name: str | Path, kind: str | None = None, *, published_only: bool = False) -> tuple[State, Origin]:
    """A checkpoint's original state dict and its origin, by the rules of `load`."""
    loaded = read_with_card(name, kind, published_only=published_only)
    return loaded.state, loaded.origin


def read_with_card(name: str | Path, kind: str | None = None, *, published_only: bool = False) -> Loaded:
    """The same with its model card."""
    return _loaded(name, kind, published_only)


def _loaded(name: str | Path, kind: str | None, published_only: bool) -> Loaded:
    if kind is not None and kind not in KINDS:
        raise unknown("kind of signal", kind, KINDS)
    (given, key), path = split_key(str(name)), Path(split_key(str(name))[0])
    is_own = given not in NAMES and (path.suffix in SUFFIXES or path.is_file())
    if published_only and (is_own or given in EMBEDDED):
        raise Refusal(f"{given} is no published checkpoint, and only those were asked for; legal: {', '.join((*ALIASES, *CHECKPOINTS))}")
    if given in EMBEDDED:
        return _embedded(given, kind)
    if is_own:
        return _from_file(path, kind, path.name, key)
    return _named(given, kind, may_substitute=given in ALIASES and not published_only)


def _named(name: str, kind: str | None, may_substitute: bool) -> Loaded:
    checkpoint = published(name)
    if kind not in (None, checkpoint.kind):
        raise Refusal(f"{checkpoint.name} reads {checkpoint.kind.upper()}, not {str(kind).upper()}")
    try:
        state = read_published(checkpoint)
    except Unavailable as why:
        if not (may_substitute and embedded_path(ALIASES[name].embedded).is_file()):
            raise
        return _stand_in(name, kind, why)
    return Loaded(state, _origin(checkpoint, state), {})


def _stand_in(alias: str, kind: str | None, why: Unavailable) -> Loaded:
    """The alias' embedded checkpoint. It is not the model that was meant, so a line on stderr says so, also with --quiet."""
    loaded = _embedded(ALIASES[alias].embedded, kind)
    if alias not in SAID:
        SAID.add(alias)
        name = loaded.origin.checkpoint
        print(f"heartlens: {alias!r} is now the embedded {name}, trained on simulated signals only, because {why}", file=sys.stderr)
    return loaded


def _embedded(name: str, kind: str | None) -> Loaded:
    path = embedded_path(name)
    if not path.is_file():
        raise Refusal(f"{name} is not built: there is no {path}; `make embedded` builds it")
    return _from_file(path, kind, name)


def _from_file(path: Path, kind: str | None, name: str, key: str | None = None) -> Loaded:
    state = read_state(path, key)
    check(state)
    card = read_card(path)
    task = "task head" if "lm_head.linear1.0.weight" in state else None
    kind = _kind_of(path, kind, card, sizes_of(state).vocabulary)
    described: Card = {"task": task, "licence": "the file's owner's", "citation": ""} | card
    origin = Origin(name, kind, described["task"], sha256_of(path), fingerprint(state), described["licence"], described["citation"], "none")
    return Loaded(state, origin, card, path)


def _kind_of(path: Path, given: str | None, card: Card, vocabulary: int) -> str | None:
    """The kind of signal by the caller, the card or the vocabulary; those that tell it must agree."""
    of_vocabulary, of_card = kind_of_vocabulary(vocabulary), card.get("kind")
    kind = given or of_card or of_vocabulary
    if of_vocabulary not in (None, kind):
        raise Refusal(f"{path} has the vocabulary of {of_vocabulary} ({vocabulary} tokens), not of {kind}")
    if of_card not in (None, kind):
        raise Refusal(f"{path} is a model of {of_card} by its model card, not of {kind}")
    return kind


def _origin(checkpoint: Checkpoint, state: State) -> Origin:
    registered = {name: getattr(checkpoint, name) for name in ("kind", "task", "sha256", "licence", "citation")}
    return Origin(checkpoint=checkpoint.name, fingerprint=fingerprint(state), processing="none", **registered)
