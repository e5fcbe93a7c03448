"""What the task head of a fine-tuned model answers, as its model card tells it under "head": one class, several labels, or numbers.

A checkpoint's tensors do not tell whether an output is the logit of a probability or a number with a unit, how many tokens a window has, or
whether the last block sees later tokens too; who applies the model must know it. Published checkpoints have no card: there it is None.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from heartlens.axes import CONTEXT
from heartlens.checkpoints.card import Card
from heartlens.refusal import Refusal

Answers = Literal["classes", "labels", "numbers"]
READS = ("last", "every")


@dataclass(frozen=True)
class Head:
    """`names` are those of the classes (one of them is right), of the labels (each yes or no), or of the numbers.

    `reads`: the last token or every one. `units`: of the numbers, each where none is 1. `n_tokens`: of a window. `unmasked`: the last block
    attends to later tokens too. `bandpass`: recordings are filtered to the paper's band first.
    """

    answers: Answers
    reads: str
    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    n_tokens: int = CONTEXT
    unmasked: bool = False
    bandpass: bool = False

    @property
    def n_outputs(self) -> int:
        """One for two classes, else one for each name."""
        return 1 if self.answers == "classes" and len(self.names) == 2 else len(self.names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of numbers with their units, as tables call them (hr_bpm); of classes and labels the names."""
        return tuple(
            f"{name}_{unit}" if unit else name for name, unit in zip(self.names, self.units or [""] * len(self.names), strict=True)
        )

    def stored(self) -> dict[str, Any]:
        """As a card holds it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def head_of(card: Card) -> Head | None:
    """The head that a card tells of; None where it tells of none. Refuses a damaged one."""
    card_head = card.get("head")
    if card_head is None:
        return None
    try:
        head = Head(**{**card_head, "names": tuple(card_head["names"]), "units": tuple(card_head.get("units", ()))})
        is_whole = head.answers in get_args(Answers) and head.reads in READS and 0 < head.n_tokens <= CONTEXT and bool(head.columns)
    except (TypeError, ValueError, KeyError):
        is_whole = False
    if not is_whole:
        raise Refusal(
            f"{card.get('name')}: what its model card says of its head is damaged ({str(card_head)[:80]}); write it anew by fine-tuning"
        )
    return head
