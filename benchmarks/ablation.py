"""How fast is a sweep of all heads, against one hooked run for each? The ratio, the largest difference, the peak memory of either.

Zero ablation of all 64 heads of ECG-PT over 32 windows. The sweep works in chunks on threads, as analyses do. A `run_with_hooks` pass takes
all 32 windows at once and the threads that PyTorch takes; one head a layer is timed so, and the time of 64 is 8 times that of these 8. The
logits of all 64 are compared on N_COMPARED windows. A process for each line, so that each has its own peak.
`python benchmarks/ablation.py` (needs the published ECG checkpoint).
"""

import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

import heartlens as hl
from heartlens.engine import engine_of
from heartlens.engine.workers import on_chunks, workers_for
from heartlens.gather import CHUNK
from heartlens.models import hooks
from heartlens.models.interventions.replacement import replacements
from heartlens.models.interventions.sweep import HEADS, swept

N_WINDOWS, N_COMPARED = 32, 4


def sweep(model: Any, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The logits with each head ablated in turn, layer by layer: (head, window, time, output)."""
    names = [hooks.z(layer) for layer in range(model.cfg.n_layers)]
    with torch.inference_mode():
        return [one.outputs for one in swept(engine_of(model), tokens, replacements(model, names, "zero"), (HEADS,))]


def hooked(model: Any, tokens: torch.Tensor, layer: int, head: int) -> torch.Tensor:
    """The logits with one head ablated, as TransformerLens is used."""

    def without_head(z: torch.Tensor, hook: Any) -> torch.Tensor:
        z[:, :, head] = 0.0
        return z

    with torch.inference_mode():
        return model.run_with_hooks(tokens, fwd_hooks=[(hooks.z(layer), without_head)])


def all_swept(model: Any, tokens: torch.Tensor) -> str:
    """Everything, chunk by chunk on threads; nothing is kept."""
    return _timed(lambda: list(on_chunks(lambda chunk: len(sweep(model, chunk)), tokens.split(CHUNK), workers_for(engine_of(model)))), 1)


def all_hooked(model: Any, tokens: torch.Tensor) -> str:
    """One head a layer, for all of its layer."""
    return _timed(lambda: [len(hooked(model, tokens, layer, layer)) for layer in range(model.cfg.n_layers)], model.cfg.n_heads)


def difference(model: Any, tokens: torch.Tensor) -> str:
    """The largest difference of any logit."""
    tokens, found = tokens[:N_COMPARED], 0.0
    for layer, outputs in enumerate(sweep(model, tokens)):
        for head, output in enumerate(outputs):
            found = max(found, float((output - hooked(model, tokens, layer, head)).abs().max()))
    return f"{found:.2g}"


def _timed(work: Callable[[], object], times: int) -> str:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return f"{times * (time.perf_counter() - wall):.1f} s wall, {times * (time.process_time() - cpu):.1f} s CPU"


LINES: dict[str, Callable[[Any, torch.Tensor], str]] = {
    "sweep of 64 heads": all_swept,
    "64 run_with_hooks passes": all_hooked,
    "largest difference of a logit": difference,
}


def main(line: str = "") -> None:
    """Print the table; with a line's name, that line alone."""
    if not line:
        for name in LINES:
            subprocess.run([sys.executable, __file__, name], check=True)
        return
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    model = hl.load("ecg")
    tokens = torch.from_numpy(hl.simulated("ecg", n_records=N_WINDOWS, windows_per_record=1).tokens.astype("int64"))
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = LINES[line](model, tokens)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{line}: {said}; peak {peak:.0f} MiB ({peak - loaded:.0f} above a process that has loaded the model)", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
