"""The folder of a training run: its options, its state to go on from, its losses, its best checkpoint. Each file is written whole.

A folder belongs to one run: another one needs --overwrite, going on needs --resume and the same options. When a run is finished, all that
it wrote takes its place at once (`RunFolder.finish`).
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from heartlens.checkpoints.card import write_with_card
from heartlens.checkpoints.read import State, read_state, write_state
from heartlens.exits import keeping
from heartlens.folder import MARKER, Folder, linked
from heartlens.privacy import CODED_NAMES, Names
from heartlens.refusal import Failure, Refusal
from heartlens.store import write_text
from heartlens.whole import csv_text, write_whole

COLUMNS = ("step", "learning_rate", "train_loss", "validation_loss")
OPTIONS, FROZEN, NEXT = "options.json", "frozen.npy", ".next"
OWN = (
    r"options\.json|frozen\.npy|summary\.nc|predictions\.csv|report\.html|command\.txt|losses\.(pdf|png)|finetune\.(pdf|png)"
    r"|((folds|pairs)/\d+/)?(state\.pt|losses\.csv|model\.safetensors)"
)  # the files of a run
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
    """`path`, opened by `opened` for one run whose result goes to `place`."""

    path: Path
    place: Folder | None = None
    stored: Names = CODED_NAMES  # how names are stored

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
        with self._writing():
            if card is None:
                write_state(state, self.checkpoint, {})
            else:
                write_with_card(state, self.checkpoint, card)

    def finish(self, fill: Callable[[Path], Any]) -> Path:
        """Put all that the run keeps, and what `fill` writes into the folder that it is given, in their place at once; that place."""
        assert self.place is not None

        def gather(beside: Path) -> None:
            linked(self.path, beside, but=(FROZEN,))
            fill(beside)

        with self._writing():
            self.place.give(gather)
        return self.place.path

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise Failure(f"{self.path} cannot be written ({reason}); its last save is kept, --resume goes on with it") from error

    def kept(self) -> State:
        """The best checkpoint so far."""
        return read_state(self.checkpoint)

    def save(self, progressed: Progressed, network: dict[str, Any], optimizer: dict[str, Any]) -> None:
        """Write the state and the losses so far."""
        content = {"progressed": vars(progressed), "network": network, "optimizer": optimizer}
        packed = io.BytesIO()
        torch.save(content, packed)
        with self._writing():
            write_whole(packed.getvalue(), self.state)
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


@contextmanager
def opened(path: Path, options: dict[str, Any], resume: bool, overwrite: bool, stored: Names = CODED_NAMES) -> Iterator[RunFolder]:
    """The folder for a run with `options`, locked. Refuses one that holds another run, and going on with other options.

    A run that replaces another one works beside it, in `path`.next; the old one stays until `finish` puts the new one in its place.
    """
    if resume and overwrite:
        raise Refusal("--resume goes on with the run in the folder, --overwrite removes it; give one of them")
    options = json.loads(json.dumps(options))
    with Folder(path, OWN) as place, Folder(path.with_name(f"{path.name}{NEXT}"), OWN) as beside:
        is_free = not set(place.files()) - {MARKER}
        goes_on = resume and (beside.path / OPTIONS).exists()
        work = beside if goes_on or (overwrite and not is_free) else place
        if not (is_free or resume or overwrite):
            raise Refusal(f"{path} is not empty: it holds {_holds(place)}; --resume goes on with a run, --overwrite replaces it")
        place.refuse_foreign()
        work.refuse_foreign()
        options_file = work.path / OPTIONS
        if options_file.exists() and resume:
            _refuse_others(work.path, _read_options(options_file), options)
        elif resume and not is_free:
            raise Refusal(f"{path} is not empty: it holds {_holds(place)}, and no run to go on with; give another --out")
        if overwrite:
            beside.clear()
        work.claim()
        try:
            if not options_file.exists():
                write_text(options_file, json.dumps(options, indent=1))
        except OSError as error:
            raise Failure(f"{path} cannot be written ({error.strerror or error}); name another folder with --out") from error
        with keeping(lambda: f"the last save is kept in {work.path}; --resume goes on with it"):
            yield RunFolder(work.path, place, stored)
            if place.is_given and work is beside:
                beside.clear()


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
        return dict(options)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise Refusal(f"{path} cannot be read ({type(error).__name__}); start anew with --overwrite") from error


def _refuse_others(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [f"{name} was {before.get(name)}, is {now.get(name)}" for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        raise Refusal(f"{path} holds a run with other options: {'; '.join(changed)}; give the same ones, or another --out")


def _holds(place: Folder) -> str:
    names = [name for name in place.files() if name != MARKER]
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _table(losses: list[Row]) -> str:
    return csv_text([COLUMNS, *([step, *(f"{number:.6g}" for number in numbers)] for step, *numbers in losses)])
