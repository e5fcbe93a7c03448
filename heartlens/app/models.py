"""The models of the page, each loaded once, when it is first asked for. Nothing heavy is imported before that."""

import threading
from typing import Any

from heartlens.refusal import Refusal, unknown


class Models:
    """Models by name. Only names of the registry are loaded: the page names no files."""

    def __init__(self) -> None:
        self._subjects: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.running = threading.Lock()  # one at a time computes: the machine has few cores

    def subject(self, name: str) -> Any:
        """A model with its engine. Refuses unknown names."""
        from heartlens.checkpoints.registry import NAMES

        if name not in NAMES:
            raise unknown("model", name, NAMES)
        with self._lock:
            if name not in self._subjects:
                from heartlens.models.load import load_subject

                self._subjects[name] = load_subject(name)
            return self._subjects[name]

    def base(self, name: str) -> Any:
        """The model that one was fine-tuned from. Refuses a model that was not."""
        from heartlens.models.pairs import UnknownBase, base_of

        subject, key = self.subject(name), f"base of {name}"
        with self._lock:
            if key not in self._subjects:
                try:
                    self._subjects[key] = subject.beside(base_of(subject))
                except UnknownBase as why:
                    raise Refusal(f"{subject.origin.checkpoint} was not fine-tuned from another model: {why}") from why
            return self._subjects[key]

    def loaded(self) -> list[str]:
        """The names of the models that are in memory."""
        return list(self._subjects)
