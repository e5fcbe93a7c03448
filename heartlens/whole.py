"""Files that are there whole or not at all, also where several processes write the same one."""

from pathlib import Path
from uuid import uuid4


def write_whole(content: bytes, path: Path) -> None:
    """Write `content` beside `path`, then put it in its place; an OSError leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
