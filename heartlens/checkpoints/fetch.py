"""Find a published checkpoint's zip: the folders of HEARTLENS_CHECKPOINTS, then the user cache, then a download.

A file counts only if its SHA-256 is the registry's; that is checked before anything is unpacked. A download has TIMEOUT_S from looking up
the host to the last byte: one rule for whatever hangs, drips or stalls (the 2 MB then need 1.8 Mbit/s). It is held in memory until its
hash is right, so one that fails leaves no file. The environment is read at call time.
"""

import hashlib
import io
import os
import time
from pathlib import Path

from heartlens.cache import cache_folder, is_switched_on
from heartlens.checkpoints import outage
from heartlens.checkpoints.deadline import within
from heartlens.checkpoints.registry import Checkpoint
from heartlens.refusal import Refusal
from heartlens.whole import sha256_of, write_whole

TIMEOUT_S = 9.0  # so that the whole command loses at most 10
LARGEST_BYTES = 1 << 25  # a published zip has 2 MB
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


class Unavailable(Refusal):
    """A published checkpoint that is not on this machine and cannot be downloaded."""


def search_path() -> list[Path]:
    """The folders a checkpoint is looked for in, in order."""
    named = os.environ.get("HEARTLENS_CHECKPOINTS", "").split(os.pathsep)
    return [Path(os.path.expanduser(folder)) for folder in named if folder] + [cache_folder()]


def is_offline() -> bool:
    """Whether HEARTLENS_OFFLINE forbids downloads."""
    return is_switched_on("HEARTLENS_OFFLINE")


def find(checkpoint: Checkpoint) -> Path | None:
    """The checkpoint's zip on the search path, its hash checked; None where it is not there. Refuses a file of another hash."""
    for folder in search_path():
        path = folder / checkpoint.file
        if path.is_file():
            _check(path, checkpoint)
            return path
    return None


def embedded_path(name: str) -> Path:
    """Where an embedded checkpoint lies, once it is built."""
    return EMBEDDED_FOLDER / f"{name}.safetensors"


def download(checkpoint: Checkpoint) -> Path:
    """The checkpoint's zip, downloaded to the user cache. `Unavailable` offline, after a failure within the hour, and when it fails."""
    folder = cache_folder()
    if is_offline():
        raise _unavailable(checkpoint, "is not on this machine and downloads are off (HEARTLENS_OFFLINE)")
    if failed := outage.remembered(folder):
        raise _unavailable(checkpoint, f"is not on this machine: {failed}")
    try:
        _check_writable(folder)
        write_whole(_of_hash(checkpoint.sha256, _asked(checkpoint.url, folder)), folder / checkpoint.file)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise _unavailable(checkpoint, f"could not be downloaded ({_reason(error)})") from error
    return folder / checkpoint.file


def _check_writable(folder: Path) -> None:
    """An OSError where the download could not be kept, before any network is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written")


def _asked(url: str, folder: Path) -> bytes:
    """What the network gives. A network that fails to answer is remembered."""
    import pooch

    get, content = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_S), _Awaited(TIMEOUT_S)
    try:
        within(TIMEOUT_S, lambda: get(url, content, None))
    except OSError as error:
        if getattr(error, "response", None) is None:
            outage.remember(folder, _reason(error))
        raise
    outage.forget(folder)
    return content.getvalue()


class _Awaited(io.BytesIO):
    """Bytes that arrive while they are still waited for; later ones end the download they come from."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.until = time.monotonic() + seconds

    def write(self, chunk: bytes) -> int:  # type: ignore[override]
        if time.monotonic() > self.until:
            raise TimeoutError
        if self.tell() + len(chunk) > LARGEST_BYTES:
            raise ValueError(f"what came has more than {LARGEST_BYTES >> 20} MiB")
        return super().write(chunk)


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line."""
    while error.__context__ is not None:
        error = error.__context__
    if isinstance(error, TimeoutError):
        return f"no complete answer within {TIMEOUT_S:g} s"
    return " ".join(str(error).split())[:160] or type(error).__name__


def _of_hash(sha256: str, content: bytes) -> bytes:
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ValueError(f"what came has another hash, {actual}")
    return content


def _check(path: Path, checkpoint: Checkpoint) -> None:
    actual = sha256_of(path)
    if actual != checkpoint.sha256:
        raise Refusal(
            f"{path} is not {checkpoint.name}: its SHA-256 is {actual}, published is {checkpoint.sha256}; replace or remove the file"
        )


def _unavailable(checkpoint: Checkpoint, why: str) -> Unavailable:
    return Unavailable(
        f"{checkpoint.name} {why}; get {checkpoint.url} (SHA-256 {checkpoint.sha256}) and put {checkpoint.file} into {cache_folder()} "
        f"or into a folder named in HEARTLENS_CHECKPOINTS"
    )
