"""What each tab of the browser looks at: its own files, recording, window and edits. No tab sees another's; all is gone at exit."""

import re
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartlens.app.models import Models
from heartlens.app.reading import Order, Reader, Stop
from heartlens.refusal import Refusal
from heartlens.windows import Windows

MOST_TABS = 16
MOST_KEPT = 4  # patterns of attention and the like: 64 MB each
MOST_FILES = 64
MOST_NAME = 120  # letters of an uploaded file's name


@dataclass
class Tab:
    """One tab. `folder` holds its uploads, `order` says what was read, `strip` is the recording, `names` those that lie beside it.

    `stop` ends what is being read for it.
    """

    key: str
    folder: Path
    house: "House"
    order: Order | None = None
    example: str = ""
    path: str = ""
    strip: Any = None
    stop: Stop = field(default_factory=Stop)
    names: list[str] = field(default_factory=list)
    uploads: set[str] = field(default_factory=set)
    kept: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def recording(self) -> Any:
        """The strip of the recording that is open. Refuses a tab without one."""
        if self.strip is None:
            raise Refusal("no recording is open; drop a file, or choose an example")
        return self.strip

    def window(self, asked: dict[str, Any]) -> Windows:
        """The window that the page looks at. Refuses a tab without a recording."""
        return self.recording().window_at(number(asked, "start_s"))

    def subject(self, asked: dict[str, Any]) -> Any:
        """The model that the page asks. Refuses one that reads another kind of signal than the recording is."""
        subject = self.house.models.subject(str(asked.get("model", "")))
        if self.strip is not None and subject.kind != self.strip.kind:
            raise Refusal(
                f"{subject.origin.checkpoint} reads {str(subject.kind).upper()}, and {self.example or self.shown_name(self.strip.name)} "
                f"({self.strip.lead}) is {self.strip.kind.upper()}: its tokens would mean something else to this model; "
                f"choose a model for {self.strip.kind.upper()}"
            )
        return subject

    def once(self, key: Any, make: Any) -> Any:
        """What `make()` gives, made once while it is among the last that were asked for."""
        with self.lock:
            if key not in self.kept:
                self.kept[key] = make()
                while len(self.kept) > MOST_KEPT:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
            return self.kept[key]

    def shown_name(self, name: str) -> str:
        """A recording's name, without the folder of the tab or of an upload that it lies in."""
        folders = (*self.uploads, self.folder.name)
        return next((name.split(f"{folder}/", 1)[1] for folder in folders if f"{folder}/" in name), name)

    def shown_refusal(self, refusal: Refusal) -> Refusal:
        """The same refusal without the folders of uploads, which the page need not know."""
        return type(refusal)(re.sub(rf"{re.escape(str(self.folder))}/(?:[0-9a-f]+/)?", "", str(refusal)))

    def open(self, order: Order, example: str = "") -> None:
        """Read a recording, and look at it from now on; where it is refused, all stays as it was. What is still being read is cancelled."""
        self.stop.now()
        stop = self.stop = Stop()
        try:
            self.names, self.path, self.strip = self.house.reader.read(order, stop=stop)
        except Refusal as refusal:
            raise self.shown_refusal(refusal) from refusal
        self.order, self.example = order, example
        self.kept.clear()


class House:
    """All tabs, the models they share, and the process that reads. `data` are the recordings of the command line, `out` holds results."""

    def __init__(self, data: tuple[str, ...], model: str, out: Path, reader: Reader | None = None) -> None:
        self.data, self.model, self.out = data, model, out
        self.models, self.reader = Models(), reader or Reader()
        self.folder = Path(tempfile.mkdtemp(prefix="heartlens-app-"))
        self._tabs: OrderedDict[str, Tab] = OrderedDict()
        self._lock = threading.Lock()

    def new_tab(self) -> Tab:
        """A tab of its own; the one that was not used for longest is forgotten where there are too many."""
        key = secrets.token_urlsafe(16)
        folder = self.folder / key
        folder.mkdir(mode=0o700)
        tab = Tab(key, folder, self)
        with self._lock:
            self._tabs[key] = tab
            forgotten = [self._tabs.popitem(last=False)[1] for _ in range(len(self._tabs) - MOST_TABS)]
        for old in forgotten:
            shutil.rmtree(old.folder, ignore_errors=True)
        return tab

    def tab(self, key: str) -> Tab:
        """The tab of a key. Refuses one that is not known (any more)."""
        with self._lock:
            if key not in self._tabs:
                raise Refusal("this tab is not known any more; reload the page")
            self._tabs.move_to_end(key)
            return self._tabs[key]

    def close(self) -> None:
        """Forget everything."""
        self.reader.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def number(asked: dict[str, Any], name: str, default: float | None = None) -> float:
    """A number of a question. Refuses its absence, and what is no number."""
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(f"{name} is {value!r}; a number is legal")
    return float(value)


def whole(asked: dict[str, Any], name: str, least: int, most: int, default: int | None = None) -> int:
    """A whole number of a question. Refuses one that is not from `least` to `most`."""
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refusal(f"{name} is {value!r}; legal: {least} to {most}")
    return value


def safe_name(name: str) -> str:
    """The last part of a file's name, of letters that are safe in one. Refuses a name without any."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(sign if sign.isalnum() or sign in "._- ()+" else "_" for sign in last).strip(" .")[-MOST_NAME:]
    if not kept:
        raise Refusal(f"the file name {name[:40]!r} cannot be used")
    return kept
