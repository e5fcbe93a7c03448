"""Fine-tune a checkpoint for a task: a class, several labels or numbers, for each window (its last token) or for each of its tokens.

`python -m heartlens.training.finetune ecg --task af --data FOLDER --labels TABLE --classes N,A --out FOLDER`, or for numbers
`... ppg --task regression --data FOLDER --targets TABLE --out FOLDER`. What trains is a choice; what
does not runs once for each window and is reused. Cross-validation is grouped by person (by record, where persons are not known) and
measures the recipe; the checkpoint that is written is trained on all but the validation persons, which also choose its threshold.
Recipe: Davies et al., arXiv 2407.20775.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from heartlens.axes import CONTEXT, KINDS
from heartlens.checkpoints.head import Head
from heartlens.options import check
from heartlens.refusal import Refusal
from heartlens.training.examples import Examples
from heartlens.training.folds import held_out
from heartlens.training.frozen import BATCH, batch_of
from heartlens.training.loop import Report, Schedule, train
from heartlens.training.network import State, network_of, state_of
from heartlens.training.run_folder import Progressed, RunFolder
from heartlens.training.tasks import answer, freeze, loss_for, network_for_task, scale_of, trained_from

Estimate = Float[np.ndarray, "window target output"]
MIN_TOKENS = 50


@dataclass(frozen=True)
class Finetune:
    """The options of a fine-tuning, with the published recipe as defaults."""

    train: Annotated[str, "what changes: head, last-block, block:N.. (N from 1), or all"] = "last-block"
    steps: Annotated[int, "optimiser steps, at most"] = 1000
    batch: Annotated[int, "windows a step"] = 128
    learning_rate: Annotated[float, "AdamW's, the largest"] = 3e-4
    warmup: Annotated[int, "steps over which the learning rate rises to its largest"] = 0
    weight_decay: Annotated[float, "AdamW's"] = 0.01
    dropout: Annotated[float, "of attention weights, projections and MLPs that train"] = 0.2
    clip: Annotated[float, "largest norm of the gradient"] = 1.0
    unmask_last_block: Annotated[bool, "tokens see later ones too in the last block, where every token is read"] = False
    loss: Annotated[
        Literal["squared", "huber", "absolute"], "of numbers, in their standard deviations; huber is linear beyond one of them"
    ] = "squared"
    coverage: Annotated[float, "how often an interval of a number shall hold the truth, for persons never seen"] = 0.9
    class_weights: Annotated[Literal["none", "balanced"], "balanced: every class counts the same"] = "none"
    validation_share: Annotated[float, "share of the training records that choose when to stop, and the threshold"] = 0.2
    validate_every: Annotated[int, "steps between validations, each of which saves the run"] = 50
    patience: Annotated[int, "validations without a better loss after which training stops; 0: never"] = 6
    folds: Annotated[str, "cross-validation: a number of folds, records (leave one person or record out), or none"] = "5"
    window: Annotated[float, "length of a window, in s; 0: 500 tokens (ECG 5 s, PPG 10 s), the longest"] = 0.0
    stride: Annotated[int, "samples from one window to the next, at the model's rate"] = 250
    event_width_s: Annotated[float, "tokens this near an event are positive, in s"] = 0.02
    precision: Annotated[Literal["float32", "bfloat16"], "of the forward and backward pass"] = "float32"
    seed: Annotated[int, "seed of head, windows, dropout, folds and intervals"] = 0

    def __post_init__(self) -> None:
        lengths = {"steps": (1, 10**9), "batch": (1, 10**5), "warmup": (0, 10**9), "validate_every": (1, 10**9), "patience": (0, 10**9)}
        shares = {
            "learning_rate": (0, 1),
            "weight_decay": (0, 1),
            "dropout": (0, 0.9),
            "validation_share": (0, 0.9),
            "event_width_s": (0, 1),
        }
        check(self, {**lengths, **shares, "coverage": (0.5, 0.99), "window": (0, 10), "stride": (1, 10**6), "seed": (0, 2**31)})

    def n_tokens(self, kind: str) -> int:
        """The length of a window in tokens. Refuses one that is longer than the model's context, or hardly a beat."""
        rate_hz = KINDS[kind].rate_hz
        n_tokens = round(self.window * rate_hz) or CONTEXT
        if not MIN_TOKENS <= n_tokens <= CONTEXT:
            legal = f"{MIN_TOKENS / rate_hz:g} to {CONTEXT / rate_hz:g}, or 0"
            raise Refusal(f"--window is {self.window:g} s; legal for {kind.upper()}: {legal}")
        return n_tokens

    def schedule(self) -> Schedule:
        """What the loop needs to know."""
        names = ("steps", "learning_rate", "warmup", "weight_decay", "clip", "validate_every", "seed", "patience")
        return Schedule(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned checkpoint in the published layout, how its training went, and the records that chose when to stop."""

    state: State
    progressed: Progressed
    validation: list[str]


def fit(
    options: Finetune,
    base: State,
    examples: Examples,
    entering: np.ndarray,
    records: list[str],
    folder: RunFolder,
    accelerator: Any,
    report: Report,
) -> Tuned:
    """Train on `records` of `examples`, going on from what `folder` holds. `entering` is the frozen part's output for all of them."""
    sides = held_out(examples.class_of_unit(records), options.validation_share, options.seed)
    training, validation = (examples.records_of(units) for units in sides)
    chosen, held = examples.where(training), examples.where(validation)
    n_outputs = examples.head().n_outputs
    network = network_for_task(base, n_outputs, options.dropout, options.seed, options.unmask_last_block).to(accelerator.device)
    freeze(network, options.train)
    start = trained_from(options.train, len(network.blocks))
    loss_at = loss_for(examples, chosen, options.class_weights, options.loss, accelerator.device)
    scale = scale_of(examples, chosen) if examples.answers == "numbers" else None

    def loss_of(network: nn.Module, step: int) -> Tensor:
        drawn = np.random.default_rng((options.seed, 2, step)).choice(chosen, options.batch)
        return _loss(network, drawn)

    def validate(network: nn.Module) -> float:
        parts = [held[first : first + BATCH] for first in range(0, len(held), BATCH)]
        return sum(float(_loss(network, part)) * examples.n_targets(part) for part in parts) / examples.n_targets(held)

    def _loss(network: nn.Module, which: np.ndarray) -> Tensor:
        return loss_at(network(batch_of(entering, which).to(accelerator.device), start, examples.last_only), which)

    def keep(network: nn.Module, progressed: Progressed) -> None:
        state = state_of(network)  # type: ignore[arg-type]
        folder.keep(scale.in_units(state) if scale else state)

    progressed = train(network, loss_of, validate, keep, options.schedule(), folder, accelerator, report)
    return Tuned(folder.kept(), progressed, validation)


@torch.no_grad()
def predict(
    state: Mapping[str, Tensor], entering: np.ndarray, which: np.ndarray, start: int, last_only: bool, head: Head | None = None
) -> Estimate:
    """What a fine-tuned checkpoint says of the chosen windows, in probabilities or, where its head is of numbers, in their units."""
    network = network_of(state, unmasked=bool(head and head.unmasked)).eval()
    parts = [which[first : first + BATCH] for first in range(0, len(which), BATCH)]
    answers = head.answers if head else "classes"
    return np.concatenate([answer(network(batch_of(entering, part), start, last_only), answers).numpy() for part in parts])


if __name__ == "__main__":
    from heartlens.exits import leave
    from heartlens.training.finetune_command import run_finetune

    leave(lambda: run_finetune(sys.argv[1:]))
