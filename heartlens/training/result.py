"""What a fine-tuning came to, whatever its head answers: what is written beside the checkpoint, and what is printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from heartlens.findings import Findings
from heartlens.privacy import Names

OUT_OF_FOLD, VALIDATION = "cross-validated", "validation records (they chose stop and threshold)"


@dataclass(frozen=True)
class Result:
    """`figures` in words by source, for the card; `predictions` is the text of a table; `card` is what else the card says."""

    summary: xr.Dataset
    plot: Callable[[xr.Dataset], Any]
    findings: Callable[[xr.Dataset], Findings]
    figures: Mapping[str, Mapping[str, str]]
    predictions: Callable[[Names], str]
    last_line: str
    threshold: float = float("nan")
    card: Mapping[str, Any] = field(default_factory=dict)
