"""Where a model comes from: what every result must say of the weights it was measured on. Imports no torch."""

from dataclasses import dataclass
from typing import Any

from heartlens.axes import KINDS


@dataclass(frozen=True)
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
