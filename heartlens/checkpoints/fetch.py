"""Find a published checkpoint's zip: the folders of HEARTLENS_CHECKPOINTS, then the user cache, then a download.

A file counts only if its SHA-256 is the registry's; that is checked before anything is unpacked. A download that fails or is cut
short leaves nothing behind. The environment is read at call time.
"""

import hashlib
import os
from pathlib import Path

from heartlens.checkpoints.registry import Checkpoint
from heartlens.refusal import Refusal

TIMEOUT_S = 10.0


def cache_folder() -> Path:
    """HEARTLENS_CACHE, else the user's cache folder of this platform (XDG_CACHE_HOME on Linux)."""
    import platformdirs

    return Path(os.environ.get("HEARTLENS_CACHE") or platformdirs.user_cache_dir("heartlens"))


def search_path() -> list[Path]:
    """The folders a checkpoint is looked for in, in order."""
    named = os.environ.get("HEARTLENS_CHECKPOINTS", "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in named if folder] + [cache_folder()]


def is_offline() -> bool:
    """Whether HEARTLENS_OFFLINE forbids downloads."""
    return os.environ.get("HEARTLENS_OFFLINE", "").lower() not in ("", "0", "false", "no")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(checkpoint: Checkpoint) -> Path | None:
    """The checkpoint's zip on the search path, its hash checked; None where it is not there. Refuses a file of another hash."""
    for folder in search_path():
        path = folder / checkpoint.file
        if path.is_file():
            _check(path, checkpoint)
            return path
    return None


def download(checkpoint: Checkpoint) -> Path:
    """The checkpoint's zip, downloaded to the user cache. Refuses offline, and when no file of the right hash arrives."""
    if is_offline():
        raise Refusal(f"{checkpoint.name} is not on this machine and downloads are off (HEARTLENS_OFFLINE); {_by_hand(checkpoint)}")
    import pooch

    fetcher = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_S)
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(checkpoint.url, f"sha256:{checkpoint.sha256}", checkpoint.file, cache_folder(), downloader=fetcher)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; pooch's mismatch is a ValueError
        reason = " ".join(str(error).split())[:160]
        raise Refusal(f"{checkpoint.name} could not be downloaded ({reason}); {_by_hand(checkpoint)}") from error
    return Path(path)


def _check(path: Path, checkpoint: Checkpoint) -> None:
    found = sha256_of(path)
    if found != checkpoint.sha256:
        raise Refusal(
            f"{path} is not {checkpoint.name}: its SHA-256 is {found}, published is {checkpoint.sha256}; replace or remove the file"
        )


def _by_hand(checkpoint: Checkpoint) -> str:
    return (
        f"get {checkpoint.url} (SHA-256 {checkpoint.sha256}) and put {checkpoint.file} into {cache_folder()} "
        f"or into a folder named in HEARTLENS_CHECKPOINTS"
    )
