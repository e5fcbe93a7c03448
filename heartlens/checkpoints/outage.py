"""A network that failed is not asked again within the hour: what a hang costs, it costs once.

A small file in the user cache keeps when and why. One that cannot be read, or is dated in the future, does not count; nor does an answer
that came but was of no use (404, a login page): it cost no time.
"""

import time
from contextlib import suppress
from pathlib import Path

MARKER = "network-failed.txt"
PAUSE_S = 3600.0


def remember(folder: Path, reason: str) -> None:
    """Keep in `folder` that the network has failed just now."""
    with suppress(OSError):
        (folder / MARKER).write_text(f"{int(time.time())}\n{reason}\n", encoding="utf-8")


def forget(folder: Path) -> None:
    """The network works."""
    with suppress(OSError):
        (folder / MARKER).unlink()


def remembered(folder: Path) -> str | None:
    """When and why the network failed, when it is asked again, and how to have it asked at once; None where it may be asked."""
    try:
        when, reason = (folder / MARKER).read_text(encoding="utf-8").split("\n", 1)
        failed_s = float(when)
    except (OSError, ValueError):
        return None
    if not 0 <= time.time() - failed_s < PAUSE_S:
        return None
    failed, next_try = (time.strftime("%H:%M", time.localtime(at)) for at in (failed_s, failed_s + PAUSE_S))
    return f"the network failed at {failed} ({reason.strip()}) and is asked again after {next_try}, or now if you delete {folder / MARKER}"
