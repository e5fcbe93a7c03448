"""The folder of a training run: its options, its state to go on from, its losses, its best checkpoint. Each file is written whole.

A folder belongs to one run: another one needs --overwrite, going on needs --resume and the same options.
"""

import csv
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from heartlens.checkpoints.card import write_with_card
from heartlens.checkpoints.read import State, read_state, write_state
from heartlens.refusal import Refusal
from heartlens.store import write_text, write_whole

COLUMNS = ("step", "learning_rate", "train_loss", "validation_loss")
Row = tuple[int, float, float, float]


@dataclass
class Progressed:
    """How far a run is: `step` steps done, `best` the lowest validation loss, since when `stale` validations brought no better one."""

    step: int = 0
    best: float = float("inf")
    stale: int = 0
    losses: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class RunFolder:
    """`path`, opened by `opened` for one run."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint so far, in the published format."""
        return self.path / "model.safetensors"

    @property
    def state(self) -> Path:
        """Everything a killed run goes on from."""
        return self.path / "state.pt"

    def keep(self, state: State, card: dict[str, Any] | None = None) -> None:
        """Write the best checkpoint so far, with its model card inside."""
        if card is None:
            write_state(state, self.checkpoint, {})
        else:
            write_with_card(state, self.checkpoint, card)

    def kept(self) -> State:
        """The best checkpoint so far."""
        return read_state(self.checkpoint)

    def save(self, progressed: Progressed, network: dict[str, Any], optimizer: dict[str, Any]) -> None:
        """Write the state and the losses so far."""
        content = {"progressed": vars(progressed), "network": network, "optimizer": optimizer}
        write_whole(self.state, lambda partial: torch.save(content, partial))
        write_text(self.path / "losses.csv", _table(progressed.losses))

    def saved(self) -> tuple[Progressed, dict[str, Any], dict[str, Any]] | None:
        """What `save` wrote last; None where nothing was. Refuses a file that cannot be read."""
        if not self.state.is_file():
            return None
        try:
            content = torch.load(self.state, map_location="cpu", weights_only=True)
            progressed = Progressed(**content["progressed"])
        except Exception as error:  # torch.load lets a damaged file raise what it likes
            raise Refusal(f"{self.state} cannot be read ({type(error).__name__}); start anew with --overwrite") from error
        return progressed, content["network"], content["optimizer"]


def opened(path: Path, options: dict[str, Any], resume: bool, overwrite: bool) -> RunFolder:
    """The folder for a run with `options`. Refuses one that holds another run, and going on with other options."""
    folder, told = RunFolder(path), path / "options.json"
    options = json.loads(json.dumps(options))
    if path.exists() and not path.is_dir():
        raise Refusal(f"{path} is a file; --out names a folder")
    if resume and overwrite:
        raise Refusal("--resume goes on with the run in the folder, --overwrite removes it; give one of them")
    if told.exists() and resume:
        _refuse_others(path, json.loads(told.read_text(encoding="utf-8")), options)
        return folder
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise Refusal(f"{path} is not empty: it holds {_holds(path)}; --resume goes on with a run, --overwrite replaces it")
    if told.exists():  # never remove what no run has written
        shutil.rmtree(path)
    try:
        write_text(told, json.dumps(options, indent=1))
    except OSError as error:
        raise Refusal(f"{path} cannot be written ({error.strerror or error}); name another folder with --out") from error
    return folder


def _refuse_others(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [f"{name} was {before.get(name)}, is {now.get(name)}" for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        raise Refusal(f"{path} holds a run with other options: {'; '.join(changed)}; give the same ones, or another --out")


def _holds(path: Path) -> str:
    names = sorted(each.name for each in path.iterdir())
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _table(losses: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([step, *(f"{number:.6g}" for number in numbers)] for step, *numbers in losses)
    return text.getvalue()
