"""Where heartlens keeps what it can make or fetch again. The environment is read at call time."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """HEARTLENS_CACHE, else the user's cache folder of this platform (XDG_CACHE_HOME on Linux)."""
    import platformdirs

    return Path(os.environ.get("HEARTLENS_CACHE") or platformdirs.user_cache_dir("heartlens"))
