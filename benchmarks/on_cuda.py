"""How many windows a second on a CUDA device, beside the bounds measured there and beside the CPU engines of the same machine.

Bounds: a forward with torch's own attention and no statistics, its weights packed once; and that forward's matrix products alone.
`python benchmarks/on_cuda.py` (the published ECG checkpoint, else the embedded one). TF32 off; median wall time of RUNS after a warm-up.
"""

import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import heartlens as hl
from heartlens.engine import Asked
from heartlens.engine.workers import on_chunks
from heartlens.measures import attention
from heartlens.models.subject import Subject, subject_of
from heartlens.windows import Windows

RUNS = 5
SIZES = (8, 64, 512)  # windows at a time
N_SIMULATED = 64


class Bare:
    """The forward of a model's blocks as torch does it best, without statistics."""

    def __init__(self, model: Any) -> None:
        self.model, self.packed = model, []
        for block in model.blocks:
            attn = block.attn
            weight = torch.stack([getattr(attn, f"W_{letter}") for letter in "QKV"]).permute(2, 0, 1, 3).flatten(1).contiguous()
            bias = torch.stack([getattr(attn, f"b_{letter}") for letter in "QKV"]).flatten()
            self.packed.append((weight, bias, attn.W_O.flatten(0, 1).contiguous()))

    def forward(self, x: Tensor) -> Tensor:
        """The stream after the last block."""
        for block, (weight, bias, back) in zip(self.model.blocks, self.packed, strict=True):
            n_heads, d_head = block.attn.W_Q.shape[0], block.attn.W_Q.shape[2]
            read = (block.ln1(x) @ weight + bias).view(*x.shape[:2], 3, n_heads, d_head).permute(2, 0, 3, 1, 4)
            query, key, value = read
            z = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1 / self.model.cfg.attn_scale)
            x = x + z.transpose(1, 2).flatten(2) @ back + block.attn.b_O
            x = x + functional.relu(block.ln2(x) @ block.mlp.W_in + block.mlp.b_in) @ block.mlp.W_out + block.mlp.b_out
        return x

    def products(self, x: Tensor) -> Tensor:
        """The matrix products of `forward` but those of attention; the numbers mean nothing."""
        for block, (weight, _, back) in zip(self.model.blocks, self.packed, strict=True):
            x = (x @ weight)[..., : len(back)] @ back
            x = x @ block.mlp.W_in @ block.mlp.W_out
        return x


def head_scan_asks(windows: Windows) -> Asked:
    """The sums that a head scan asks for."""
    groups = attention.groups_of(windows)
    runs = attention.runs_of(attention.labels(windows, n_rotations=1, n_phases=25), groups, 8)
    return Asked(groups.of_query, groups.segment_of, runs=runs.edges, rows=(windows.tokens.shape[1] - 1,))


def exhausted(layers: Iterator[Any]) -> None:
    """Run a stream of layers to its end, keeping none."""
    for _ in layers:
        pass


def windows_per_s(work: Callable[[], object], n_windows: int) -> float:
    """Windows a second, the device's queue emptied before and after."""
    work()
    taken = []
    for _ in range(RUNS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return n_windows / statistics.median(taken)


def on_device(subject: Subject, windows: Windows) -> dict[str, float]:
    """Windows a second on the device, all windows in one call."""
    bare, engine, tokens = Bare(subject.model), subject.engine, subject.tokens(windows.tokens)
    asked, x = head_scan_asks(windows), engine.embed(tokens)
    measured: dict[str, Callable[[], object]] = {
        "bare matrix products": lambda: bare.products(x),
        "bare SDPA forward, no statistics": lambda: bare.forward(x),
        "torch engine, forward": lambda: engine.run_blocks(x, 0),
        "torch engine, all sums of the head scan": lambda: exhausted(engine.sums(tokens, asked)),
    }
    return {name: windows_per_s(work, len(windows)) for name, work in measured.items()}


def in_chunks(subject: Subject, windows: Windows, n_workers: int) -> dict[str, float]:
    """Windows a second of sums and of a whole `HeadScan.measure`, in its own chunks."""
    scan, chunks = hl.HeadScan(), list(windows.chunks(hl.HeadScan.at_once))
    asks = [(subject.tokens(chunk.tokens), head_scan_asks(chunk)) for chunk in chunks]

    def sums(ask: tuple[Tensor, Asked]) -> None:
        exhausted(subject.engine.sums(*ask))

    return {
        "all sums of the head scan": windows_per_s(lambda: list(on_chunks(sums, asks, n_workers)), len(windows)),
        "HeadScan.measure": windows_per_s(lambda: list(on_chunks(partial(scan.measure, subject), chunks, n_workers)), len(windows)),
    }


def main() -> None:
    """Print the table, or that there is no device."""
    if not torch.cuda.is_available():
        print("no CUDA device is here; nothing was measured")
        return
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_grad_enabled(False)
    simulated = hl.simulated("ecg", n_records=N_SIMULATED, windows_per_record=1)
    device, n_cores = subject_of(hl.load("ecg", device="cuda")), len(os.sched_getaffinity(0))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {n_cores} cores; windows a second\n")
    columns = [on_device(device, simulated[np.resize(np.arange(N_SIMULATED), n)]) for n in SIZES]
    print(f"{'windows in one call':44}" + "".join(f"{n:>10}" for n in SIZES))
    for name in columns[0]:
        print(f"{name:44}" + "".join(f"{column[name]:10.0f}" for column in columns))
    print(f"\n{f'in chunks of {hl.HeadScan.at_once}, workers':44}" + f"{1:>10}{n_cores:>10}")
    for engine, model in (("torch", device.model), ("fused", hl.load("ecg")), ("torch", hl.load("ecg"))):
        subject = subject_of(model, engine)
        both = [in_chunks(subject, simulated, n) for n in (1, n_cores)]
        for name in both[0]:
            print(f"{f'{engine} on {subject.engine.device.type}, {name}':44}" + "".join(f"{each[name]:10.0f}" for each in both))


if __name__ == "__main__":
    main()
