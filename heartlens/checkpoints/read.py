"""Read a state dict from a .zip, .pth or .safetensors file without running anything in it.

A zip must hold exactly one member, a .pth no larger than MAX_BYTES unpacked; pickles are read with `weights_only=True` on the CPU. The
`tril` buffers of the original (66 MB of 68) carry no information: they are checked to be causal, then dropped.
"""

import hashlib
import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from heartlens.checkpoints.keys import weights_in
from heartlens.refusal import Refusal, reason_of
from heartlens.whole import write_whole

MAX_BYTES = 1 << 28  # 1 << 26 are in the published ones
State = dict[str, Tensor]
SUFFIXES = (".zip", ".pth", ".pt", ".safetensors")


def read_state(path: Path, key: str | None = None) -> State:
    """The tensors in `path` by name, without the causal masks, on the CPU. Refuses what is not a state dict.

    Of a training dictionary, those under `key`, or its only state dict: then a line on stderr says which.
    """
    if not path.is_file():
        raise Refusal(f"no checkpoint file at {path}")
    if path.suffix not in SUFFIXES:
        raise Refusal(f"{path} is no checkpoint file; legal: {', '.join(SUFFIXES)}")
    if path.stat().st_size > MAX_BYTES:
        raise Refusal(f"{path} has {path.stat().st_size >> 20} MiB; that is no HeartGPT checkpoint (at most {MAX_BYTES >> 20} MiB)")
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(path)
    else:
        content = _unpickle(_single_member(path) if path.suffix == ".zip" else path.read_bytes(), path)
    state, taken = weights_in(content, key, path, MAX_BYTES)
    if taken and key is None:
        print(f"heartlens: {path}: the weights are those under {taken!r}", file=sys.stderr)
    return _without_masks(state, path)


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
        raise Refusal(f"{path} is not a readable safetensors file ({reason_of(error)})") from error


def _single_member(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            member = _the_member(archive, path)
            with archive.open(member) as file:
                content = file.read(MAX_BYTES + 1)
    except Refusal:
        raise
    except Exception as error:  # zipfile lets a damaged file raise what it likes: BadZipFile, zlib.error, struct.error, EOFError, ...
        raise Refusal(f"{path} is not a readable zip ({reason_of(error)}); it may be truncated: fetch it again") from error
    if len(content) > MAX_BYTES:
        raise Refusal(f"{path} unpacks to more than {MAX_BYTES >> 20} MiB; that is no HeartGPT checkpoint")
    return content


def _the_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1:
        names = ", ".join(member.filename[:40] for member in members[:4])
        raise Refusal(f"{path} holds {len(members)} members ({names}); a checkpoint zip holds exactly one .pth")
    name = members[0].filename
    if ".." in Path(name).parts or Path(name).is_absolute() or not name.endswith((".pth", ".pt")):
        raise Refusal(f"{path} holds {name[:80]!r}; a checkpoint zip holds exactly one .pth, by its plain name")
    if members[0].file_size > MAX_BYTES:
        raise Refusal(f"{path} unpacks to {members[0].file_size >> 20} MiB; that is no HeartGPT checkpoint (at most {MAX_BYTES >> 20} MiB)")
    return members[0]


def _unpickle(content: bytes, path: Path) -> Any:
    _refuse_bomb(content, path)
    try:
        loaded: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # so does torch.load: UnpicklingError, RuntimeError, struct.error, AssertionError, ...
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise Refusal(f"{path} does not hold a state dict that can be read safely ({reason})") from error
    return loaded


def _refuse_bomb(content: bytes, path: Path) -> None:
    """What torch.save writes is a zip too, and its members may be packed."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except Exception:  # no zip: as older versions of torch wrote it; or a damaged one, which torch refuses
        return
    if total > MAX_BYTES:
        raise Refusal(f"{path} unpacks to {total >> 20} MiB; that is no HeartGPT checkpoint (at most {MAX_BYTES >> 20} MiB)")


def _without_masks(state: State, path: Path) -> State:
    kept, causal = {}, torch.ones(0)
    for name, tensor in state.items():
        if not re.fullmatch(r"blocks\.\d+\.sa\.heads\.\d+\.tril", name):
            kept[name] = tensor
            continue
        if tensor.shape != causal.shape and tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]:
            causal = torch.ones_like(tensor).tril()  # one for all heads
        if not torch.equal(tensor, causal.to(tensor.dtype)):
            raise Refusal(f"{path}: {name} is not a causal mask; only causal HeartGPT models convert")
    return kept
