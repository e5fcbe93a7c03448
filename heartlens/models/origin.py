"""Where a model comes from: what every result must say of the weights it was measured on. Imports no torch."""

from dataclasses import dataclass
from typing import Any

from heartlens.axes import KINDS


@dataclass(frozen=True, repr=False)
class Origin:
    """`sha256` is the file's, `fingerprint` that of the tensors. `kind` is None where table, caller and vocabulary do not tell it."""

    checkpoint: str
    kind: str | None
    task: str | None
    sha256: str
    fingerprint: str
    licence: str
    citation: str
    processing: str

    def __repr__(self) -> str:
        """Where the model comes from, in a few lines."""
        answers, kind = self.task or "next token", (self.kind or "unknown kind of signal").upper()
        processed = "" if self.processing in ("none", "unknown") else f", processed: {self.processing}"
        lines = [f"{self.checkpoint}: {kind}, answers: {answers}{processed}", f"  weights SHA-256 {self.fingerprint[:16] or 'unknown'}"]
        return "\n".join([*lines, f"  licence {self.licence}{'; cite ' + self.citation if self.citation else ''}"])


def origin_of(model: Any) -> Origin:
    """The origin `load` gave the model; for a HookedTransformer from elsewhere, what its configuration tells."""
    origin = getattr(model, "origin", None)
    if isinstance(origin, Origin):
        return origin
    name = getattr(model.cfg, "model_name", None) or "unnamed HookedTransformer"
    return Origin(str(name), kind_of_vocabulary(model.cfg.d_vocab), None, "", "", "unknown", "", "unknown")


def kind_of_vocabulary(n_tokens: int) -> str | None:
    """The kind of signal whose published vocabulary has this size, else None.

    >>> kind_of_vocabulary(101), kind_of_vocabulary(102), kind_of_vocabulary(50)
    ('ecg', 'ppg', None)
    """
    return next((kind.name for kind in KINDS.values() if kind.vocabulary == n_tokens), None)
