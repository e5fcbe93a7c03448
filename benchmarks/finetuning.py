"""A step of fine-tuning the last block, against the published procedure: every window through all blocks at every step.

`python benchmarks/finetuning.py [CHECKPOINT] [BATCH]`. Both take the same windows, train the same parameters (last block, final norm, head)
with the same optimiser, and start from the same task head; dropout is off in both, so that their losses can be compared. The published
procedure is the original architecture in plain PyTorch, head by head. Ours has run the frozen blocks once, which is timed apart.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from heartlens.converters.sizes import sizes_of
from heartlens.models.load import read
from heartlens.signals.simulate import simulated
from heartlens.training.frozen import batch_of, frozen_part
from heartlens.training.network import network_of, state_of
from heartlens.training.tasks import freeze, network_for_task, task_loss

STEPS = 3


def published_logits(state, tokens):
    """The original forward, one head after the other; only what trains asks for gradients."""
    sizes = sizes_of(state)
    future = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    norm = lambda x, name: functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])  # noqa: E731
    linear = lambda x, name: functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))  # noqa: E731
    x = state["token_embedding_table.weight"][tokens] + state["position_embedding_table.weight"]
    for block in (f"blocks.{layer}" for layer in range(sizes.layers)):
        inner, moved = norm(x, f"{block}.ln1"), []
        for head in (f"{block}.sa.heads.{number}" for number in range(sizes.heads)):
            scores = linear(inner, f"{head}.query") @ linear(inner, f"{head}.key").transpose(1, 2) * sizes.d_model**-0.5
            moved.append(scores.masked_fill(future, float("-inf")).softmax(dim=-1) @ linear(inner, f"{head}.value"))
        x = x + linear(torch.cat(moved, dim=-1), f"{block}.sa.proj")
        x = x + linear(linear(norm(x, f"{block}.ln2"), f"{block}.ffwd.net.0").relu(), f"{block}.ffwd.net.2")
    return linear(norm(x, "ln_f"), "lm_head.linear1.0")


def published_step(state, trained, optimizer, tokens, target):
    """One step of the published procedure; its loss."""
    logits = published_logits({**state, **trained}, tokens)[:, -1:]
    loss = functional.binary_cross_entropy_with_logits(logits[..., 0], target.float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def our_step(network, optimizer, entering, which, target):
    """One step of ours, from what the frozen blocks have left; its loss."""
    loss = task_loss(network(batch_of(entering, which), len(network.blocks) - 1, True), target, None)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def timed(step):
    """The median time in s of STEPS steps after a first, and the loss of the last."""
    times, loss = [], step()
    for _ in range(STEPS):
        start = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), loss


def main():
    name, batch = (sys.argv[1:] + ["ecg", "32"][len(sys.argv) - 1 :])[:2]
    base, origin = read(name)
    windows = simulated(origin.kind or "ecg", n_records=int(batch), windows_per_record=1).tokens
    target, which = torch.arange(int(batch))[:, None] % 2, np.arange(int(batch))
    network = network_for_task(base, 2, 0.0, 0)
    freeze(network, "last-block")
    state = state_of(network)
    last = len(network.blocks) - 1
    of_last = [each for each in state if each.startswith((f"blocks.{last}.", "ln_f.", "lm_head."))]
    trained = {each: state[each].clone().requires_grad_(True) for each in of_last}
    optimizer = torch.optim.AdamW(trained.values(), lr=3e-4)
    tokens = torch.from_numpy(windows.astype(np.int64))
    theirs, their_loss = timed(lambda: published_step(state, trained, optimizer, tokens, target))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        entering = frozen_part(network_of(base), windows, last, True, Path(folder) / "frozen.npy")
        once = time.perf_counter() - start
        mine = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=3e-4)
        network.eval()
        ours, our_loss = timed(lambda: our_step(network, mine, entering, which, target))
    print(f"{origin.checkpoint}, {batch} windows a step, {torch.get_num_threads()} threads, median of {STEPS} steps")
    print(f"published procedure {theirs:8.3f} s a step   loss after {STEPS + 1} steps {their_loss:.6f}")
    print(f"heartlens           {ours:8.3f} s a step   loss after {STEPS + 1} steps {our_loss:.6f}   frozen blocks once: {once:.1f} s")
    print(f"ratio               {theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
