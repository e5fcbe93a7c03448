"""What all rows share: the checkpoint, simulated windows, how much is measured; and the machine, in words."""

import os
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import heartlens as hl
from heartlens.checkpoints.read import State
from heartlens.checkpoints.registry import CHECKPOINTS
from heartlens.models.load import read
from heartlens.provenance import versions
from heartlens.windows import Windows


@dataclass(frozen=True)
class Setting:
    """A quick run takes the fewest windows and one round: it shows that everything runs, and its numbers mean little."""

    is_quick: bool = False
    checkpoint: str = "ecg"
    tuned: str = "ecg-af"  # of whose logit the patching map is

    @cached_property
    def model(self) -> Any:
        """The model that all rows but patching are about."""
        return hl.load(self.checkpoint)

    @cached_property
    def state(self) -> State:
        """Its tensors under their published names."""
        return read(self.checkpoint)[0]

    @property
    def is_published(self) -> bool:
        """Whether the model is the published one, for which the targets are."""
        return self.model.origin.checkpoint in CHECKPOINTS

    @property
    def n_rounds(self) -> int:
        """How often each alternative is timed."""
        return 1 if self.is_quick else 5

    def windows(self, n_windows: int) -> Windows:
        """Windows of so many simulated people."""
        return hl.simulated("ecg", n_records=n_windows, windows_per_record=1)

    def tokens(self, n_windows: int) -> torch.Tensor:
        """Their tokens."""
        return torch.from_numpy(self.windows(n_windows).tokens.astype(np.int64))


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> list[str]:
    """Processor, cores, SIMD, how busy it is, and versions: what absolute times depend on."""
    busy = f"; load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    packages = ", ".join(f"{name} {number}" for name, number in versions().items())
    return [
        f"{_processor()}, {n_cores()} cores of it, {torch.backends.cpu.get_cpu_capability()}, {platform.system()}{busy}",
        f"Python {platform.python_version()}, {packages}",
    ]


def _processor() -> str:
    """The processor's name, with what tells apart those of one name."""
    described = Path("/proc/cpuinfo")
    if not described.is_file():
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in described.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    numbers = ", ".join(f"{name} {known[name]}" for name in ("cpu family", "model", "cpu MHz") if name in known)
    return f"{known.get('model name', platform.machine())} ({numbers})" if numbers else known.get("model name", platform.machine())
