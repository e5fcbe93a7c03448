"""What is made of windows alone is made once for a model and all its twins: they are measured on the same windows, one after the other."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import numpy as np

from heartlens.windows import Windows

N_KEPT = 64  # chunks of windows, for each function; more would fill the memory when there are many recordings
Made = TypeVar("Made", bound=Callable[..., Any])


def made_once(make: Made) -> Made:
    """`make(windows, ...)`, which keeps its last N_KEPT results and gives them again for windows that are equal in everything.

    What it gives is shared and must not be changed.
    """

    @lru_cache(N_KEPT)
    def kept(same: _Same, *options: Any, **named: Any) -> Any:
        return make(same.windows, *options, **named)

    @wraps(make)
    def made(windows: Windows, *options: Any, **named: Any) -> Any:
        return kept(_Same(_digest(windows), windows), *options, **named)

    return cast(Made, made)


@dataclass(frozen=True)
class _Same:
    """Windows that are told apart by the hash of their content."""

    digest: bytes
    windows: Windows = field(compare=False)


def _digest(windows: Windows) -> bytes:
    """A hash of everything that the windows hold."""
    content = hashlib.sha256()
    for each in fields(windows):
        value = getattr(windows, each.name)
        is_numbers = isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"
        content.update(f"{each.name} {getattr(value, 'dtype', '')} {np.shape(value)}".encode())
        content.update(np.ascontiguousarray(value).tobytes() if is_numbers else repr(list(value)).encode())
    return content.digest()
