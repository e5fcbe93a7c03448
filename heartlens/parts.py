"""The parts of a model as `--ablate` names them, counted from 1: heads (L4H5), MLPs (MLP8) and whole layers (L3)."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heartlens.axes import head_label
from heartlens.refusal import Refusal

ATTENTION, MOVED, STREAM = "attention", "moved", "stream"  # what is read of a model: weights, weights times values, everything
NAME = re.compile(r"L([1-9][0-9]{0,3})(?:H([1-9][0-9]{0,3}))?|MLP([1-9][0-9]{0,3})", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A head (`head` from 0), an MLP (`is_mlp`), or a whole layer: its attention and its MLP. `layer` counts from 0."""

    layer: int
    head: int | None = None
    is_mlp: bool = False

    def __str__(self) -> str:
        if self.head is not None:
            return head_label(self.layer, self.head)
        return f"MLP{self.layer + 1}" if self.is_mlp else f"L{self.layer + 1}"


def part_named(text: str) -> Part:
    """The part of a name. Other names are errors of an argument.

    >>> part_named("L4H5"), str(part_named("mlp8"))
    (Part(layer=3, head=4, is_mlp=False), 'MLP8')
    """
    match = NAME.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text.strip()!r} names no part; legal: heads as L4H5, MLPs as MLP8, layers as L3, with commas")
    layer, head, mlp = match.groups()
    return Part(int(mlp or layer) - 1, int(head) - 1 if head else None, bool(mlp))


def parts_in(text: str) -> list[Part]:
    """The parts of a list with commas; none of an empty one. Refuses other names."""
    try:
        return [part_named(name) for name in text.split(",")] if text.strip() else []
    except argparse.ArgumentTypeError as error:
        raise Refusal(f"--ablate {text!r}: {error}") from error


def sorted_parts(parts: Sequence[Part]) -> list[Part]:
    """Each part once: heads, then MLPs, then layers."""
    return sorted(set(parts), key=lambda part: (part.head is None, not part.is_mlp, part.layer, part.head or 0))


def listed(parts: Sequence[Part]) -> str:
    """The parts as `--ablate` takes them.

    >>> listed([part_named("L3"), part_named("MLP8"), part_named("L4H5")])
    'L4H5,MLP8,L3'
    """
    return ",".join(map(str, sorted_parts(parts)))


def edited(attrs: Any) -> str:
    """What follows the name of a result's model: " (ablated L4H5, zero)", or nothing where no edit was in force."""
    return f" ({'; '.join(str(attrs['edits']).splitlines())})" if attrs.get("edits") else ""


def refuse_idle(parts: Sequence[Part] | None, reads: str, n_layers: int) -> None:
    """Refuse to take away what changes nothing of what is read, or what would be divided by zero."""
    idle = [part for part in sorted_parts(parts or ()) if part.layer == n_layers - 1]
    if reads != STREAM and idle:
        raise Refusal(
            f"--ablate {listed(idle)}: only attention is read here, and nothing comes after the last layer ({n_layers}) that could "
            f"attend otherwise; legal: parts of the layers 1 to {n_layers - 1}"
        )
    with_heads = [part for part in sorted_parts(parts or ()) if not part.is_mlp]
    if reads == MOVED and with_heads:
        raise Refusal(
            f"--ablate {listed(with_heads)}: --weights value weighs attention by what a head adds, and an ablated head adds nothing; "
            "legal: MLPs, or --weights attention"
        )
