"""The models of the page, each loaded once, when it is first asked for. Nothing heavy is imported before that."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from heartlens.parts import Part, listed
from heartlens.refusal import Refusal, unknown

MOST_ABLATED = 8  # models without some of their parts that are kept
YIELD_S = 0.002  # enough for who waits to wake up


class Models:
    """Models by name, with the parts that they are without. Only names of the registry are loaded: the page names no files."""

    def __init__(self) -> None:
        self._whole: dict[str, Any] = {}
        self._ablated: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self.running = threading.Lock()  # one at a time computes: the machine has few cores

    def give_way(self) -> None:
        """In long work that holds `running`: who waits for something short has a turn."""
        self.running.release()
        time.sleep(YIELD_S)
        self.running.acquire()

    def subject(self, name: str, parts: Sequence[Part] = ()) -> Any:
        """A model without these parts, with its engine. Refuses unknown names."""
        from heartlens.checkpoints.registry import NAMES

        if name not in NAMES:
            raise unknown("model", name, NAMES)

        def loaded() -> Any:
            from heartlens.models.load import load_subject

            return load_subject(name, ablate=parts)

        return self._kept(name, parts, loaded)

    def base(self, name: str, parts: Sequence[Part] = ()) -> Any:
        """The model that one was fine-tuned from, without the same parts. Refuses a model that was not."""
        from heartlens.models.changes import base_beside
        from heartlens.models.pairs import AUTO, UnknownBase

        subject = self.subject(name, parts)

        def loaded() -> Any:
            try:
                return base_beside(subject, AUTO)
            except UnknownBase as why:
                raise Refusal(f"{subject.origin.checkpoint} was not fine-tuned from another model: {why}") from why

        return self._kept(f"base of {name}", parts, loaded)

    def _kept(self, name: str, parts: Sequence[Part], load: Callable[[], Any]) -> Any:
        """The model of this name, loaded once; of those without some parts the last few are kept."""
        with self._lock:
            if not parts:
                if name not in self._whole:
                    self._whole[name] = load()
                return self._whole[name]
            key = f"{name} without {listed(parts)}"
            if key not in self._ablated:
                self._ablated[key] = load()
            self._ablated.move_to_end(key)
            while len(self._ablated) > MOST_ABLATED:
                self._ablated.popitem(last=False)
            return self._ablated[key]
