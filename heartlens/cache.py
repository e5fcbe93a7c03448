"""Where heartlens keeps what it can make or fetch again. The environment is read at call time."""

import os
from pathlib import Path


def is_switched_on(variable: str) -> bool:
    """Whether a variable of the environment is set, and not to 0, false or no."""
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no")


def cache_folder() -> Path:
    """HEARTLENS_CACHE, else the user's cache folder of this platform (XDG_CACHE_HOME on Linux)."""
    import platformdirs

    return Path(os.environ.get("HEARTLENS_CACHE") or platformdirs.user_cache_dir("heartlens"))
