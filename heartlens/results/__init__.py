"""Stored results: what the folder of an analysis, a task or a training holds, and the commands that work on it.

`table` prints it as CSV, `redraw` draws it anew, `compare` sets two side by side, `remake` and `run` make it again.
"""

import importlib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from heartlens.folder import Folder
from heartlens.refusal import Refusal, reason_of

SUMMARY, TALLY = "summary.nc", "tally.nc"


@dataclass(frozen=True)
class Result:
    """The result in a folder, its summary in `file`. `opened` makes one."""

    path: Path
    file: str = SUMMARY

    @cached_property
    def summary(self) -> xr.Dataset:
        """The summary. Refuses a folder without one."""
        from heartlens.store import read_summary

        if not (self.path / self.file).is_file():
            raise Refusal(f"{self.path} holds no {self.file}: {self._holds()}")
        return read_summary(self.path / self.file)

    @property
    def name(self) -> str:
        """The command that made it, as far as the summary says: an analysis, a task, or finetune."""
        given = str(self.summary.attrs.get("analysis") or ("finetune" if "task" in self.summary.attrs else ""))
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", given).lower()

    @property
    def tables(self) -> list[str]:
        """The names of the CSV files."""
        return sorted(path.name for path in self.path.glob("*.csv"))

    @property
    def drawer(self) -> Any:
        """What draws and words the summary: it has `plot(summary)` and `findings(summary)`. Refuses what this version does not know."""
        if self.name == "finetune":
            return importlib.import_module("heartlens.training.finetune_report")
        module = f"heartlens.tasks.{self.name}"
        if re.fullmatch("[a-z_]{1,60}", self.name) and importlib.util.find_spec(module) is not None:
            task = getattr(importlib.import_module(module), "TASK", None)
            if task is not None:
                return task
        return analysis_of(self.summary.attrs, str(self.path))

    def command(self) -> str:
        """The command that remakes it. Refuses a result that has none."""
        if (self.path / "command.txt").is_file():
            return (self.path / "command.txt").read_text(encoding="utf-8").strip()
        command = str(self.summary.attrs.get("command", ""))
        if not command:
            raise Refusal(f"{self.path} does not say by which command it was made; results made in Python do not")
        return command

    def _holds(self) -> str:
        files = Folder(self.path).files()
        if "heartlens.json" not in files:
            return "it is no result of heartlens; name a folder that a command wrote with --out"
        shard = " (of a shard, or of a run that was stopped)" if files == ["heartlens.json", TALLY] else ""
        return f"it holds {', '.join(files[:6])}{', ...' if len(files) > 6 else ''}{shard}"


def opened(path: Path) -> Result:
    """The result in a folder; a file in it stands for the folder. Refuses what is not there."""
    if path.is_file() and path.suffix in (".nc", ".csv", ".html", ".json", ".toml"):
        path = path.parent
    if not path.is_dir():
        raise Refusal(f"{path}: {'no folder of a result' if path.exists() else 'no such folder'}; name one that a command wrote with --out")
    return Result(path)


def analysis_of(attrs: Any, whose: str) -> Any:
    """The analysis that a result is of, with its options. Refuses one that this version does not have; `whose` names the result."""
    name = str(attrs.get("analysis", ""))
    module = f"heartlens.analyses.{re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()}"
    if not re.fullmatch(r"[A-Za-z]{1,60}", name) or importlib.util.find_spec(module) is None:
        raise Refusal(f"{whose} is of an analysis {name[:60]!r}, which this version does not have")
    try:
        return getattr(importlib.import_module(module), name)(**json.loads(attrs["options"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refusal(f"the options of {whose} ({name}) are not those of this version ({reason_of(error)})") from error
