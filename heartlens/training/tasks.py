"""What a task head is trained to say, and which part of the model may change for it.

A task of two classes has one output and a sigmoid, as published; one of more has an output a class and a softmax. Several labels have an
output and a sigmoid each; numbers an output each, in their units. The head replaces the one the checkpoint has. `trained_from` reads what
trains: `head` (the head alone), `last-block` (as published: the last block, the final norm and the head), `block:N..` (block N, counted
from 1 as in the paper, and all after it), or `all`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from heartlens.converters.sizes import sizes_of
from heartlens.refusal import Refusal
from heartlens.training.examples import Examples
from heartlens.training.network import Network, State, network_of

HEAD = "lm_head."


@dataclass(frozen=True)
class Task:
    """What a task head decides, in a word and in words, and whether it `reads` the last token or every one."""

    name: str
    says: str
    reads: str

    @property
    def text(self) -> str:
        """As checkpoints tell it."""
        return f"{self.says} ({'last' if self.reads == 'last' else 'every'} token)"


TASKS = {task.name: task for task in (Task("af", "atrial fibrillation", "last"), Task("beat", "beat", "every"))}
REGRESSION, LABELS = "regression", "labels"  # tasks whose names of numbers or labels the table tells


def trained_from(what: str, layers: int) -> int:
    """The number of blocks that stay frozen. Refuses what is none of the choices, and a block the model does not have.

    >>> [trained_from(what, 8) for what in ("head", "last-block", "block:7..", "all")]
    [8, 7, 6, 0]
    """
    fixed = {"head": layers, "last-block": layers - 1, "all": 0}
    if what in fixed:
        return fixed[what]
    match = re.fullmatch(r"block:(\d+)\.\.", what)
    if not match or not 1 <= int(match[1]) <= layers:
        raise Refusal(f"--train is {what!r}; legal: head, last-block, block:N.. with N from 1 to {layers}, all")
    return int(match[1]) - 1


def network_for_task(state: Mapping[str, Tensor], outputs: int, dropout: float, seed: int, unmasked: bool = False) -> Network:
    """The network of a checkpoint with a new task head of so many outputs, drawn from `seed`; `unmasked` as in `Network`."""
    torch.manual_seed(seed)
    sizes = replace(sizes_of(state), outputs=outputs, has_task_head=True)
    head = {name: tensor for name, tensor in Network(sizes).state_dict().items() if name.startswith(HEAD)}
    with_head = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)} | dict(head)
    return network_of(with_head, dropout, unmasked)


def freeze(network: Network, what: str) -> None:
    """Let only `what` be trained."""
    start = trained_from(what, len(network.blocks))
    parts: list[nn.Module] = [network.lm_head]
    parts += [network.ln_f, *network.blocks[start:]] if what != "head" else []
    parts += [network.token_embedding_table, network.position_embedding_table] if what == "all" else []
    network.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


LossAt = Callable[[Tensor, np.ndarray], Tensor]  # of a network's outputs for the windows of these indices


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each number over the windows trained on: a network learns (number - middle) / spread."""

    middle: Float[np.ndarray, " output"]
    spread: Float[np.ndarray, " output"]

    def in_units(self, state: State) -> State:
        """A checkpoint whose head gives numbers in their units."""
        weight, bias = (f"{HEAD}linear1.0.{part}" for part in ("weight", "bias"))
        middle, spread = (torch.from_numpy(each) for each in (self.middle, self.spread))
        return {
            **state,
            weight: (state[weight].double() * spread[:, None]).float(),
            bias: (state[bias].double() * spread + middle).float(),
        }


def scale_of(examples: Examples, which: np.ndarray) -> Scale:
    """The scale of the numbers of the chosen windows. Refuses one that does not differ."""
    target = examples.target[which].reshape(-1, len(examples.classes))
    spread = np.nanstd(target, axis=0) if len(target) else np.zeros(1)
    for name, each in zip(examples.classes, spread, strict=False):
        if not each > 0:
            raise Refusal(f"{name} does not differ in what is trained on; give more recordings, or fewer --folds")
    return Scale(np.nanmean(target, axis=0), spread)


def loss_for(examples: Examples, which: np.ndarray, class_weights: str, loss: str, device: torch.device) -> LossAt:
    """The loss of a network's outputs; classes and scales are weighed by the windows `which`, those that are trained on."""
    if examples.answers == "numbers":
        scale = scale_of(examples, which)
        scaled = torch.from_numpy(((examples.target - scale.middle) / scale.spread).astype(np.float32))
        return lambda outputs, chosen: number_loss(outputs, scaled[chosen].to(device), loss)
    target = torch.from_numpy(examples.target)
    if examples.answers == "labels":
        by_label = [class_weight(target[which][..., each], 2) for each in range(len(examples.classes))]
        weights = torch.stack(by_label).to(device) if class_weights == "balanced" else None
        return lambda outputs, chosen: label_loss(outputs, target[chosen].to(device), weights)
    weight = class_weight(target[which], len(examples.classes)).to(device) if class_weights == "balanced" else None
    return lambda outputs, chosen: task_loss(outputs, target[chosen].to(device), weight)


def task_loss(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Cross-entropy (nats) of the targets, (window, target), with a weight for each class or none."""
    if logits.shape[-1] == 1:
        weights = weight[target] if weight is not None else None
        return functional.binary_cross_entropy_with_logits(logits[..., 0].float(), target.float(), weights)
    return functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), weight)


def label_loss(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Binary cross-entropy (nats) of labels, (window, target, label), the mean over them; `weight` (label, 2) of no and of yes, or none."""
    weights = weight[torch.arange(target.shape[-1], device=target.device), target] if weight is not None else None
    return functional.binary_cross_entropy_with_logits(logits.float(), target.float(), weights)


def number_loss(outputs: Tensor, target: Tensor, loss: str) -> Tensor:
    """The mean loss of numbers in standard deviations, (window, target, number), over those that are there (NaN: none).

    squared: the square of the error. absolute: its size. huber: half the square up to one standard deviation, and linear beyond.
    """
    is_there = torch.isfinite(target)
    error = outputs.float()[is_there] - target[is_there]
    zero = torch.zeros_like(error)
    kinds: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "squared": functional.mse_loss,
        "absolute": functional.l1_loss,
        "huber": functional.huber_loss,
    }
    return kinds[loss](error, zero) if len(error) else outputs.float().sum() * 0


def class_weight(target: Tensor, n_classes: int) -> Tensor:
    """A weight for each class that makes all of them count the same, 1 in the mean over examples."""
    count = torch.bincount(target.flatten(), minlength=n_classes).float()
    return target.numel() / (n_classes * count.clamp_min(1))


def answer(outputs: Tensor, answers: str = "classes") -> Tensor:
    """What a head's outputs say: numbers as they are; of each label its probability, of two classes the second's, of more that of each."""
    if answers == "numbers":
        return outputs.float()
    return outputs.float().sigmoid() if answers == "labels" or outputs.shape[-1] == 1 else outputs.float().softmax(dim=-1)
