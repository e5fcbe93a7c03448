"""What a task head is trained to say, and which part of the model may change for it.

A task of two classes has one output and a sigmoid, as published; one of more has an output a class and a softmax. The head
replaces the one the checkpoint has. `trained_from` reads what trains: `head` (the head alone), `last-block` (as published: the last
block, the final norm and the head), `block:N..` (block N, counted from 1 as in the paper, and all after it), or `all`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from heartlens.converters.sizes import sizes_of
from heartlens.refusal import Refusal
from heartlens.training.network import Network, network_of

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
        raise Refusal(f"train is {what!r}; legal: head, last-block, block:N.. with N from 1 to {layers}, all")
    return int(match[1]) - 1


def network_for_task(state: Mapping[str, Tensor], n_classes: int, dropout: float, seed: int) -> Network:
    """The network of a checkpoint with a new task head for `n_classes`, drawn from `seed`."""
    torch.manual_seed(seed)
    outputs = 1 if n_classes == 2 else n_classes
    sizes = replace(sizes_of(state), outputs=outputs, has_task_head=True)
    head = {name: tensor for name, tensor in Network(sizes).state_dict().items() if name.startswith(HEAD)}
    with_head = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)} | dict(head)
    return network_of(with_head, dropout)


def freeze(network: Network, what: str) -> None:
    """Let only `what` be trained."""
    start = trained_from(what, len(network.blocks))
    parts: list[nn.Module] = [network.lm_head]
    parts += [network.ln_f, *network.blocks[start:]] if what != "head" else []
    parts += [network.token_embedding_table, network.position_embedding_table] if what == "all" else []
    network.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)


def task_loss(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Cross-entropy (nats) of the targets, (window, target), with a weight for each class or none."""
    if logits.shape[-1] == 1:
        weights = weight[target] if weight is not None else None
        return functional.binary_cross_entropy_with_logits(logits[..., 0].float(), target.float(), weights)
    return functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), weight)


def class_weight(target: Tensor, n_classes: int) -> Tensor:
    """A weight for each class that makes all of them count the same, 1 in the mean over examples."""
    count = torch.bincount(target.flatten(), minlength=n_classes).float()
    return target.numel() / (n_classes * count.clamp_min(1))


def probability(logits: Tensor) -> Tensor:
    """The probability of each class but the first where there are two, (window, target, 1); of every class where there are more."""
    return logits.float().sigmoid() if logits.shape[-1] == 1 else logits.float().softmax(dim=-1)
