"""`load`: a checkpoint by exact name, alias or path, as a plain HookedTransformer that knows its origin.

A published zip is read once; its tensors (2 MB of 66) are then kept in the user cache as safetensors under the zip's hash, with their
fingerprint, which is checked at every load.
"""

import logging
from pathlib import Path

import torch
from transformer_lens import HookedTransformer

from heartlens.axes import KINDS
from heartlens.checkpoints.fetch import cache_folder, download, find, sha256_of
from heartlens.checkpoints.read import SUFFIXES, State, fingerprint, read_state, write_state
from heartlens.checkpoints.registry import ALIASES, CHECKPOINTS, Checkpoint, published
from heartlens.converters.hooked import check, hooked_model
from heartlens.converters.sizes import sizes_of
from heartlens.models.origin import Origin, kind_of_vocabulary
from heartlens.refusal import Refusal, unknown

log = logging.getLogger("heartlens")


def load(
    name: str | Path,
    *,
    kind: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    fold_ln: bool = False,
    center_writing_weights: bool = False,
) -> HookedTransformer:
    """The model of a published checkpoint ("ecgpt-560k", "ecg", ...) or of one's own .pth, .zip or .safetensors file.

    `kind` ("ecg" or "ppg") is needed only for one's own file with a vocabulary of its own. `model.origin` says where it comes from.
    Refuses unknown names, files that are not HeartGPT state dicts, and a kind that contradicts the vocabulary.
    """
    state, origin = read(name, kind)
    processing = ", ".join(label for label, on in (("fold_ln", fold_ln), ("center_writing_weights", center_writing_weights)) if on)
    model = hooked_model(state, dtype=dtype, fold_ln=fold_ln, center_writing_weights=center_writing_weights, name=origin.checkpoint)
    model.origin = Origin(**{**vars(origin), "processing": processing or "none"})
    return model if device == "cpu" else model.to(device, print_details=False)


def device_named(name: str) -> str:
    """ "cpu" or "cuda"; "auto" is CUDA where there is a device. Refuses CUDA where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise Refusal("no CUDA device is here; legal: auto, cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def read(name: str | Path, kind: str | None = None) -> tuple[State, Origin]:
    """A checkpoint's original state dict and its origin."""
    if kind is not None and kind not in KINDS:
        raise unknown("kind of signal", kind, KINDS)
    path = Path(name)
    if str(name) not in (*ALIASES, *CHECKPOINTS) and (path.suffix in SUFFIXES or path.is_file()):
        return _read_own(path, kind)
    checkpoint = published(str(name))
    if kind not in (None, checkpoint.kind):
        raise Refusal(f"{checkpoint.name} reads {checkpoint.kind.upper()}, not {str(kind).upper()}")
    state = _read_published(checkpoint)
    return state, _origin(checkpoint, state)


def _origin(checkpoint: Checkpoint, state: State) -> Origin:
    known = {name: getattr(checkpoint, name) for name in ("kind", "task", "sha256", "licence", "citation")}
    return Origin(checkpoint=checkpoint.name, fingerprint=fingerprint(state), processing="none", **known)


def _read_own(path: Path, kind: str | None) -> tuple[State, Origin]:
    state = read_state(path)
    check(state)
    vocabulary = sizes_of(state).vocabulary
    told = kind_of_vocabulary(vocabulary)
    if None not in (kind, told) and kind != told:
        raise Refusal(f"{path} has the vocabulary of {told} ({vocabulary} tokens), not of {kind}")
    task = "task head" if "lm_head.linear1.0.weight" in state else None
    return state, Origin(path.name, kind or told, task, sha256_of(path), fingerprint(state), "the file's owner's", "", "none")


def _read_published(checkpoint: Checkpoint) -> State:
    zipped = find(checkpoint)
    kept = cache_folder() / f"{checkpoint.name}-{checkpoint.sha256[:12]}.safetensors"
    state = _read_kept(kept)
    if state is None:
        state = read_state(zipped or download(checkpoint))
        _keep(state, kept, checkpoint)
    return state


def _read_kept(path: Path) -> State | None:
    """The cached tensors, or None where there are none or they are not what was written."""
    if not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            promised = (file.metadata() or {}).get("fingerprint")
    except (SafetensorError, OSError):
        return None
    return state if fingerprint(state) == promised else None


def _keep(state: State, path: Path, checkpoint: Checkpoint) -> None:
    try:
        write_state(state, path, {"fingerprint": fingerprint(state), "zip_sha256": checkpoint.sha256, "name": checkpoint.name})
    except OSError as error:  # a read-only cache costs time, not correctness
        log.warning("the cache %s cannot be written (%s); the next load reads the zip again", path.parent, error)
