"""Read a state dict from a .zip, .pth or .safetensors file without running anything in it.

A zip must hold exactly one member, a .pth no larger than MAX_BYTES unpacked; pickles are read with `weights_only=True` on the CPU. The
`tril` buffers of the original (66 MB of 68) carry no information: they are checked to be causal, then dropped.
"""

import hashlib
import io
import re
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from heartlens.refusal import Refusal
from heartlens.whole import write_whole

MAX_BYTES = 1 << 30
State = dict[str, Tensor]
SUFFIXES = (".zip", ".pth", ".pt", ".safetensors")


def read_state(path: Path) -> State:
    """The tensors in `path` by name, without the causal masks, on the CPU. Refuses what is not a state dict."""
    if not path.is_file():
        raise Refusal(f"no checkpoint file at {path}")
    if path.suffix == ".safetensors":
        return _without_masks(_read_safetensors(path), path)
    if path.suffix == ".zip":
        return _without_masks(_unpickle(_single_member(path), path), path)
    if path.suffix in SUFFIXES:
        return _without_masks(_unpickle(path.read_bytes(), path), path)
    raise Refusal(f"{path} is no checkpoint file; legal: {', '.join(SUFFIXES)}")


def write_state(state: State, path: Path, metadata: dict[str, str]) -> None:
    """Write `state` as safetensors, atomically; an OSError leaves nothing behind."""
    write_whole(save({name: tensor.contiguous() for name, tensor in state.items()}, metadata), path)


def fingerprint(state: State) -> str:
    """The SHA-256 of the names, shapes, dtypes and bits of all tensors: the identity of a model, whatever file it came in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise Refusal(f"{path} is not a readable safetensors file ({error})") from error


def _single_member(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            member = _the_member(archive, path)
            with archive.open(member) as file:
                content = file.read(MAX_BYTES + 1)
    except Refusal:
        raise
    except Exception as error:  # zipfile lets a damaged file raise what it likes: BadZipFile, zlib.error, struct.error, EOFError, ...
        raise Refusal(f"{path} is not a readable zip ({error}); it may be truncated: fetch it again") from error
    if len(content) > MAX_BYTES:
        raise Refusal(f"{path} unpacks to more than {MAX_BYTES >> 20} MiB; that is no HeartGPT checkpoint")
    return content


def _the_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:4])
        raise Refusal(f"{path} holds {len(members)} members ({names}); a checkpoint zip holds exactly one .pth")
    name = members[0].filename
    if ".." in Path(name).parts or Path(name).is_absolute() or not name.endswith((".pth", ".pt")):
        raise Refusal(f"{path} holds {name!r}; a checkpoint zip holds exactly one .pth, by its plain name")
    if members[0].file_size > MAX_BYTES:
        raise Refusal(f"{path} unpacks to {members[0].file_size >> 20} MiB; that is no HeartGPT checkpoint (at most {MAX_BYTES >> 20} MiB)")
    return members[0]


def _unpickle(content: bytes, path: Path) -> State:
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # so does torch.load: UnpicklingError, RuntimeError, struct.error, AssertionError, ...
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise Refusal(f"{path} does not hold a state dict that can be read safely ({reason})") from error
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        held = type(loaded).__name__ if not isinstance(loaded, dict) else "a dict that is empty or holds other things than tensors"
        raise Refusal(f"{path} holds {held}, not a state dict of tensors by name; save it with torch.save(model.state_dict(), path)")
    return {str(name): tensor for name, tensor in loaded.items()}


def _without_masks(state: State, path: Path) -> State:
    kept = {}
    for name, tensor in state.items():
        if not re.fullmatch(r"blocks\.\d+\.sa\.heads\.\d+\.tril", name):
            kept[name] = tensor
        elif tensor.ndim != 2 or not torch.equal(tensor, torch.ones_like(tensor).tril()):
            raise Refusal(f"{path}: {name} is not a causal mask; only causal HeartGPT models convert")
    return kept
