"""How a file is named that holds several checkpoints: with `#` and a key after it."""

from pathlib import Path


def split_key(name: str) -> tuple[str, str | None]:
    """A file's name and the key after it.

    >>> split_key("runs/mine.pth#ema"), split_key("mine.pth")
    (('runs/mine.pth', 'ema'), ('mine.pth', None))
    """
    file, mark, key = name.partition("#")
    return (file, key) if mark and key and not Path(name).exists() else (name, None)


def is_file(checkpoint: str | Path) -> bool:
    """Whether a checkpoint is named by its file, with or without a key after it, and not by a name of the registry."""
    return Path(split_key(str(checkpoint))[0]).is_file()
