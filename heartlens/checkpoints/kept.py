"""The tensors of a published checkpoint.

Its zip is read once; the tensors (2 MB of 66) are then kept in the user cache as safetensors. At every load their fingerprint must be the
registry's, whatever the file says of itself; tensors of another one are read from the zip, or fetched, anew.
"""

import logging
from pathlib import Path

from heartlens.cache import cache_folder
from heartlens.checkpoints.fetch import download, find
from heartlens.checkpoints.read import State, fingerprint, read_state, write_state
from heartlens.checkpoints.registry import Checkpoint
from heartlens.refusal import Refusal

LARGEST_BYTES = 1 << 25  # of a cached checkpoint

log = logging.getLogger("heartlens")


def read_published(checkpoint: Checkpoint) -> State:
    """The state dict: from the cache, the search path or a download. `Unavailable` where none of them has it."""
    zipped = find(checkpoint)
    kept = kept_path(checkpoint)
    state = _read_kept(kept, checkpoint)
    if state is None:
        zipped = zipped or download(checkpoint)
        state = read_state(zipped)
        if fingerprint(state) != checkpoint.fingerprint:
            raise Refusal(f"{checkpoint.name}: the tensors in {zipped} are not the published ones; report this")
        _keep(state, kept, checkpoint)
    return state


def kept_path(checkpoint: Checkpoint) -> Path:
    """Where the cache keeps a checkpoint's tensors."""
    return cache_folder() / f"{checkpoint.name}-{checkpoint.sha256[:12]}.safetensors"


def _read_kept(path: Path, checkpoint: Checkpoint) -> State | None:
    """The cached tensors, or None where there are none or they are not the checkpoint's."""
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST_BYTES:
        log.warning("the cache %s is not %s; it is made anew", path, checkpoint.name)
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError):
        return None
    if fingerprint(state) == checkpoint.fingerprint:
        return state
    log.warning("the cache %s does not hold the tensors of %s; it is made anew", path, checkpoint.name)
    return None


def _keep(state: State, path: Path, checkpoint: Checkpoint) -> None:
    try:
        write_state(state, path, {"fingerprint": fingerprint(state), "zip_sha256": checkpoint.sha256, "name": checkpoint.name})
    except OSError as error:  # a read-only cache costs time, not correctness
        log.warning("the cache %s cannot be written (%s); the next load reads the zip again", path.parent, error)
