"""The training loop: AdamW, warm-up and cosine decay, gradient clipping, validation, early stopping, and going on after a crash.

Everything random in a step (its windows, its dropout) is drawn from the seed and the step's number alone, so a run that was killed at any
step and goes on from its last save ends with the same bits as one left alone. On several devices (`accelerate launch`) each
process takes its share of the same windows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heartlens.refusal import Refusal
from heartlens.training.run_folder import Progressed, RunFolder

Loss = Callable[[nn.Module, int], Tensor]  # of the windows of a step
Validation = Callable[[nn.Module], float]
Report = Callable[[Progressed, float], None]  # progress so far, loss of the last step

SMALLEST = 0.1  # of the learning rate, at the end of the decay


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. `patience` is the number of validations without a better loss after which the run stops; 0 never."""

    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float
    clip: float
    validate_every: int
    seed: int
    patience: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step: linear to its full height, then half a cosine down to SMALLEST of it.

        >>> [round(Schedule(10, 1.0, 2, 0.0, 1.0, 5, 0).rate(step), 3) for step in (0, 1, 2, 9)]
        [0.5, 1.0, 1.0, 0.134]
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (SMALLEST + (1 - SMALLEST) * (1 + math.cos(math.pi * done)) / 2)


def train(
    network: nn.Module,
    loss_of: Loss,
    validate: Validation,
    keep: Callable[[nn.Module, Progressed], None],
    schedule: Schedule,
    folder: RunFolder,
    accelerator: Any,
    report: Report,
) -> Progressed:
    """Train what of `network` requires a gradient, from where `folder` says; `keep` stores the network whenever validation is best.

    Refuses a loss that is not finite: the last good state and checkpoint stay in the folder.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    progressed = _gone_on(network, optimizer, folder)
    network, optimizer = accelerator.prepare(network, optimizer)
    since: list[float] = []
    while progressed.step < schedule.steps and not (schedule.patience and progressed.stale >= schedule.patience):
        since.append(_step(network, loss_of, optimizer, schedule, progressed.step, accelerator, folder))
        progressed.step += 1
        if progressed.step % schedule.validate_every == 0 or progressed.step == schedule.steps:
            _validate(accelerator.unwrap_model(network), validate, keep, progressed, schedule, since, accelerator)
            if accelerator.is_main_process:
                folder.save(progressed, accelerator.unwrap_model(network).state_dict(), optimizer.state_dict())
            since = []
        report(progressed, since[-1] if since else progressed.losses[-1][2])
    return progressed


def _gone_on(network: nn.Module, optimizer: torch.optim.Optimizer, folder: RunFolder) -> Progressed:
    saved = folder.saved()
    if saved is None:
        return Progressed()
    progressed, weights, moments = saved
    network.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    return progressed


def _step(network: nn.Module, loss_of: Loss, optimizer: Any, schedule: Schedule, step: int, accelerator: Any, folder: RunFolder) -> float:
    torch.manual_seed(schedule.seed * 1_000_003 + step * 1009 + accelerator.process_index)
    network.train()
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step)
    with accelerator.autocast():
        loss = loss_of(network, step)
    mean = float(accelerator.reduce(loss.detach(), reduction="mean"))
    if not math.isfinite(mean):
        raise Refusal(f"step {step + 1}: the loss is {mean}; stopped, the last good state is kept in {folder.path}; lower --learning-rate")
    optimizer.zero_grad()
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(network.parameters(), schedule.clip)
    optimizer.step()
    return mean


def _validate(
    network: nn.Module,
    validate: Validation,
    keep: Callable[[nn.Module, Progressed], None],
    progressed: Progressed,
    schedule: Schedule,
    since: list[float],
    accelerator: Any,
) -> None:
    network.eval()
    with torch.no_grad(), accelerator.autocast():
        loss = validate(network)
    progressed.losses.append((progressed.step, schedule.rate(progressed.step - 1), sum(since) / len(since), loss))
    progressed.stale = 0 if loss < progressed.best else progressed.stale + 1
    if loss < progressed.best:
        progressed.best = loss
        if accelerator.is_main_process:
            keep(network, progressed)
