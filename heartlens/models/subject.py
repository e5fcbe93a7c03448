"""A model with what an analysis must know of it, made once: where it comes from, what it answers, and the engine that runs it."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer

from heartlens.axes import CONTEXT
from heartlens.checkpoints.card import Card
from heartlens.checkpoints.head import Head, head_of
from heartlens.converters.weights import Weights, hooked_of
from heartlens.engine import Engine, Sizes, Tokens, engine_of
from heartlens.models.origin import Origin, origin_of
from heartlens.refusal import Refusal

TOKEN, LAST, BEAT = "next token", "last token", "beat"


@dataclass(frozen=True, eq=False)
class Subject:
    """What is analysed: a model, where it comes from, and the engine that runs it."""

    origin: Origin
    engine: Engine
    readouts: tuple[Any, ...] = ()  # further ones, of the caller; see `models.readouts.with_readout`

    @property
    def weights(self) -> Any:
        """What the engine runs: a HookedTransformer, or `Weights`, whose tensors have the same names."""
        return self.engine.model

    @property
    def model(self) -> Any:
        """The HookedTransformer; where the engine runs `Weights`, it is made now, and the engine runs it from now on."""
        if isinstance(self.engine.model, Weights):
            self.engine.model = hooked_of(self.engine.model)
        return self.engine.model

    @property
    def sizes(self) -> Sizes:
        """The model's sizes."""
        return self.engine.sizes

    @property
    def kind(self) -> str | None:
        """The kind of signal the model reads; None where nothing tells it."""
        return self.origin.kind

    @property
    def head(self) -> Head | None:
        """What the model card says of the task head; None without a card that tells of one."""
        return head_of(self.card)

    @property
    def card(self) -> Card:
        """The model card; empty without one."""
        return getattr(self.weights, "card", {})

    @cached_property
    def answers(self) -> str:
        """What the model answers: the next token, a question of its last token, or where beats are.

        Refuses what analyses have no readout for: a head of several outputs, of numbers, of other events than beats, or of short windows.
        """
        name, task, n_outputs = self.origin.checkpoint, self.origin.task, self.sizes.d_vocab_out
        if task is None and n_outputs > 1:
            return TOKEN
        head = self.head
        if head and (head.answers == "numbers" or head.n_tokens != CONTEXT or n_outputs > 1):
            raise Refusal(
                f"{name} answers {len(head.names)} {head.answers} ({', '.join(head.columns)}) from windows of {head.n_tokens} tokens; "
                f"asked for is the next token, or one probability from {CONTEXT}; `heartlens estimate` applies it"
            )
        if n_outputs > 1:
            raise Refusal(f"{name} has {n_outputs} outputs; readouts are of the next token or of one output ({task})")
        is_last = "(last token)" in (task or "")
        if "(every token)" in (task or "") and "beat" not in (task or ""):
            raise Refusal(f"{name} finds other events than beats ({task}), for which there is no readout; `heartlens estimate` applies it")
        return BEAT if "beat" in (task or "") and not is_last else LAST

    @property
    def reads_last(self) -> bool:
        """Whether the last token's output alone is read."""
        return self.answers == LAST

    @property
    def edits(self) -> str:
        """What changes the model while it runs, a line each: the edits in force, and hooks that are none of heartlens'."""
        edits = [label() for label in getattr(self.weights, "edits_in_force", ())]
        n_own = sum(getattr(self.weights, "n_hooks_in_force", ()))
        points = getattr(self.weights, "hook_dict", {})
        hooked = [name for name, point in points.items() if point.fwd_hooks]
        n_hooks = sum(len(points[name].fwd_hooks) for name in hooked)
        edits += [f"readout of the caller: {readout.name}" for readout in self.readouts]
        return "\n".join([*edits, *([f"hooks of unknown effect at {', '.join(hooked[:8])}"] if n_hooks > n_own else [])])

    def tokens(self, numbers: Integer[np.ndarray, "window time"]) -> Tokens:
        """Token numbers as the engine takes them."""
        return torch.from_numpy(numbers.astype(np.int64)).to(self.engine.device)

    def beside(self, model: Any) -> "Subject":
        """Another model (a twin, a base) run by the same engine."""
        return replace(subject_of(model, self.engine.name), readouts=self.readouts)


def subject_of(model: Any, engine: str = "auto") -> Subject:
    """The subject of a model (a HookedTransformer, or `Weights`); a subject is its own. Refuses an engine that does not compute it."""
    return model if isinstance(model, Subject) else Subject(origin_of(model), engine_of(model, engine))
