"""How fast are loading and measuring, as ratios in one run against a named alternative.

Loading: `hl.load` of a cached checkpoint against HookedTransformer's own `load_state_dict` of the same tensors.
Attention: the fused forward against TransformerLens' `run_with_cache` restricted to patterns, on the same windows.
`python benchmarks/speed.py` (needs the published ECG checkpoint). CPU seconds of this process, median of RUNS.
"""

import statistics
import time
import warnings
from collections.abc import Callable

import torch

import heartlens as hl
from heartlens.engine import engine_of

RUNS = 5


def cpu_s(work: Callable[[], object]) -> float:
    """The median CPU time of `work`, after one warm-up, in seconds."""
    work()
    taken = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def exhausted(layers: object) -> None:
    """Run a stream of layers to its end, keeping none."""
    for _ in layers:  # type: ignore[attr-defined]
        pass


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    model = hl.load("ecg")
    state = model.state_dict()
    tokens = torch.from_numpy(hl.simulated("ecg", n_records=4, windows_per_record=1).tokens.astype("int64"))
    only_patterns = {"names_filter": lambda name: name.endswith("hook_pattern")}
    with torch.inference_mode():
        measured = {
            "hl.load, cached": cpu_s(lambda: hl.load("ecg")),
            "HookedTransformer.load_state_dict": cpu_s(lambda: model.load_and_process_state_dict(dict(state), False, False, False, False)),
            "attention, fused": cpu_s(lambda: exhausted(engine_of(model, "fused").attention(tokens))) / len(tokens),
            "attention, block by block": cpu_s(lambda: exhausted(engine_of(model, "hooked").attention(tokens))) / len(tokens),
            "attention, run_with_cache": cpu_s(lambda: model.run_with_cache(tokens, **only_patterns)) / len(tokens),
        }
    for name, seconds in measured.items():
        print(f"{name:36} {seconds:7.3f} s CPU{' a window' if 'attention' in name else ''}")
    print(f"load: {measured['hl.load, cached'] / measured['HookedTransformer.load_state_dict']:.2f} of load_state_dict")
    print(f"attention: {measured['attention, fused'] / measured['attention, run_with_cache']:.2f} of run_with_cache")


if __name__ == "__main__":
    main()
