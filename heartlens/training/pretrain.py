"""Pre-train a model of the original architecture: next-token cross-entropy on windows cut anywhere from many people's signals.

`python -m heartlens.training.pretrain ecg --data FOLDER --out FOLDER`; without --data, simulated people. The result (`model.safetensors`)
has the published tensor names, so every command of heartlens takes it, and so does the original code. On several devices:
`accelerate launch -m heartlens.training.pretrain ...`. Recipe: Davies et al., arXiv 2407.20775.
"""

import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from heartlens.axes import CONTEXT, KINDS
from heartlens.checkpoints.read import State
from heartlens.converters.sizes import Sizes
from heartlens.options import check
from heartlens.refusal import Refusal
from heartlens.training.card import pretrained_card
from heartlens.training.corpus import Corpus, divided
from heartlens.training.loop import Report, Schedule, train
from heartlens.training.network import Network, state_of
from heartlens.training.run_folder import Progressed, RunFolder


@dataclass(frozen=True)
class Pretrain:
    """The options of a pre-training, with the published sizes and recipe as defaults."""

    layers: Annotated[int, "transformer blocks"] = 8
    heads: Annotated[int, "attention heads a block"] = 8
    d_model: Annotated[int, "width of the residual stream, a multiple of --heads"] = 64
    steps: Annotated[int, "optimiser steps"] = 20_000
    batch: Annotated[int, "windows a step, over all devices"] = 64
    learning_rate: Annotated[float, "AdamW's, the largest"] = 3e-4
    warmup: Annotated[int, "steps over which the learning rate rises to its largest"] = 200
    weight_decay: Annotated[float, "AdamW's"] = 0.01
    dropout: Annotated[float, "of attention weights, projections and MLPs"] = 0.2
    clip: Annotated[float, "largest norm of the gradient"] = 1.0
    validation_share: Annotated[float, "share of the records held out"] = 0.1
    validation_windows: Annotated[int, "windows of the held-out records, the same at every validation"] = 256
    validate_every: Annotated[int, "steps between validations, each of which saves the run"] = 250
    precision: Annotated[Literal["float32", "bfloat16"], "of the forward and backward pass"] = "float32"
    seed: Annotated[int, "seed of weights, windows, dropout and split"] = 0

    def __post_init__(self) -> None:
        sizes = {"layers": (1, 64), "heads": (1, 64), "d_model": (1, 4096)}
        lengths = {"steps": (1, 10**9), "batch": (1, 10**5), "warmup": (0, 10**9), "validate_every": (1, 10**9), "seed": (0, 2**31)}
        shares = {"learning_rate": (0, 1), "weight_decay": (0, 1), "dropout": (0, 0.9), "validation_share": (0, 0.9)}
        check(self, {**sizes, **lengths, **shares, "validation_windows": (1, 10**5)})
        if self.d_model % self.heads:
            raise Refusal(f"--d-model is {self.d_model}; it must be a multiple of the {self.heads} heads")

    def sizes(self, kind: str) -> Sizes:
        """The sizes of the model for a kind of signal."""
        vocabulary = KINDS[kind].vocabulary
        d_head = self.d_model // self.heads
        return Sizes(self.layers, self.heads, self.d_model, d_head, 4 * self.d_model, vocabulary, CONTEXT, vocabulary, False)

    def schedule(self) -> Schedule:
        """What the loop needs to know."""
        names = ("steps", "learning_rate", "warmup", "weight_decay", "clip", "validate_every", "seed")
        return Schedule(**{name: getattr(self, name) for name in names})


def pretrain(options: Pretrain, corpus: Corpus, folder: RunFolder, accelerator: Any, report: Report) -> Progressed:
    """Train on `corpus` until done, going on from what `folder` holds; its `model.safetensors` is the best by validation loss."""
    training, held = divided(corpus, options.validation_share, options.seed)
    torch.manual_seed(options.seed)
    network = Network(options.sizes(corpus.kind), options.dropout).to(accelerator.device)
    validation = torch.from_numpy(held.crops((options.seed, 0), options.validation_windows).astype(np.int64))

    def loss_of(network: nn.Module, step: int) -> Tensor:
        tokens = torch.from_numpy(training.crops((options.seed, 1, step), options.batch).astype(np.int64))
        return next_token_loss(network, tokens[accelerator.process_index :: accelerator.num_processes].to(accelerator.device))

    def validate(network: nn.Module) -> float:
        parts = torch.split(validation, options.batch)
        return sum(float(next_token_loss(network, part.to(accelerator.device))) * len(part) for part in parts) / len(validation)

    def keep(network: nn.Module, progressed: Progressed) -> None:
        folder.keep(with_last_position(state_of(network)), pretrained_card(asdict(options), training, held, progressed, folder.stored))  # type: ignore[arg-type]

    return train(network, loss_of, validate, keep, options.schedule(), folder, accelerator, report)


def with_last_position(state: State) -> State:
    """The state dict with the last position's embedding made that of the one before it.

    Windows are scaled whole, so nothing follows a window's last token in its own scale, and its position is never asked to forecast.
    But whoever goes on with a signal asks there, always: left as drawn, generated pulses fall apart within a second.
    """
    name = "position_embedding_table.weight"
    return {**state, name: torch.cat([state[name][:-1], state[name][-2:-1]])}


def next_token_loss(network: nn.Module, tokens: Tensor) -> Tensor:
    """The mean cross-entropy (nats) of every window's tokens after the first, each from those before it."""
    logits = network(tokens)[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


if __name__ == "__main__":
    from heartlens.exits import leave
    from heartlens.training.command import run_pretrain

    leave(lambda: run_pretrain(sys.argv[1:]))
