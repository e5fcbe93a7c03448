"""What a result must say of itself, so that it can be remade: checkpoint, data, options, seed, versions, commit."""

import hashlib
import json
import subprocess
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from heartlens.models.origin import Origin
from heartlens.options import values_of
from heartlens.windows import Windows

PACKAGES = ("heartlens", "torch", "transformer-lens", "numpy", "numba", "scipy", "xarray")


def provenance(analysis: Any, origin: Origin, windows: Windows, engine: str) -> dict[str, Any]:
    """The attributes of a result, all strings and numbers (what netCDF can hold)."""
    return {
        "analysis": type(analysis).__name__,
        "options": json.dumps(values_of(analysis), sort_keys=True),
        "seed": analysis.seed,
        **{f"checkpoint_{name}": value or "" for name, value in asdict(origin).items() if name != "checkpoint"},
        "checkpoint": origin.checkpoint,
        "engine": engine,
        "data_kind": windows.kind,
        "data_is_simulated": int(any(source.startswith("simulated") for source in windows.sources)),
        "data_sources": "\n".join(windows.sources),
        "data_sha256": hashlib.sha256("".join(sorted(windows.identity)).encode()).hexdigest(),
        "data_skipped": "\n".join(f"{count} x {reason}" for reason, count in windows.skipped),
        "data_notes": "\n".join(windows.notes),
        "versions": json.dumps(versions()),
        "git_commit": _commit(),
    }


def versions() -> dict[str, str]:
    """The installed versions of what decides a number."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit of the checkout the package runs from, with `+` if it was changed; empty where it is no checkout."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists():
        return ""
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.decode().strip()
