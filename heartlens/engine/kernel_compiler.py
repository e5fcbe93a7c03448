"""How the kernels are compiled: the decorators that declare them, and where their compiled code is kept.

numba compiles a kernel anew when its own file has changed, but not when a file has whose functions it contains. Therefore each version of
the kernels' sources has a folder of compiled code of its own.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit, types
from numba.extending import intrinsic

OPTIONS = {"error_model": "numpy", "fastmath": True, "nogil": True}


def version_folder(sources: Path, cache_folder: str) -> Path:
    """The folder of what is compiled from the kernels in a folder of sources, beside them or in the given cache folder."""
    content = b"".join(path.read_bytes() for path in sorted(sources.glob("*kernel*.py")))
    return Path(cache_folder or sources / "__pycache__") / f"kernels-{hashlib.sha256(content).hexdigest()[:12]}"


FOLDER = version_folder(Path(__file__).parent, config.CACHE_DIR)

inlined = njit(**OPTIONS, inline="always")


def compiled(kernel: Callable[..., Any]) -> Any:
    """The kernel, compiled at its first call and kept in FOLDER."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(FOLDER)
    try:
        return njit(**OPTIONS, cache=True)(kernel)
    finally:
        config.CACHE_DIR = before


@intrinsic  # type: ignore[untyped-decorator]
def kept_apart(typing_context: Any) -> Any:
    """Keep LLVM from inlining the function that calls this: together in one large function, the loops ran half as fast."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.function.attributes.add("noinline")
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate
