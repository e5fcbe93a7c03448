"""How fast is generation, against the published loop in the same run?

400 tokens after a context of 100, and single tokens past 500, where every step is a full pass: CPU and wall seconds of this process, with 1
and 2 threads, loading and compiling not counted. Several samples at once are given per token of one sample.
`python benchmarks/generation.py [CHECKPOINT]`.
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

import heartlens as hl
from heartlens.engine.generation import generated
from heartlens.models.load import read

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from published_loop import Published, published_tokens

N_PROMPT, N_NEW, N_PAST, N_SAMPLES = 100, 400, 10, 16


def timed(work: Callable[[], object]) -> tuple[object, float, float]:
    """What `work` gives, and its CPU and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    name = (sys.argv[1:] or ["ecg"])[0]
    (state, origin), model = read(name), hl.load(name)
    published, tokens = Published(state), hl.simulated(origin.kind, 1, 1, seed=0).tokens
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        generated(model, tokens[:, :N_PROMPT], 3, seed=0)
        for label, prompt, n_new in (("from 100", tokens[:, :N_PROMPT], N_NEW), ("past 500", tokens, N_PAST)):
            theirs, their_cpu, their_wall = timed(lambda: published_tokens(published, prompt[0], n_new, 0))  # noqa: B023
            ours, cpu, wall = timed(lambda: generated(model, prompt, n_new, seed=0))  # noqa: B023
            _, many_cpu, _ = timed(lambda: generated(model, prompt, n_new, seed=0, n_samples=N_SAMPLES))  # noqa: B023
            same = "the same" if ours[0, 0].tolist() == theirs else "OTHER"  # type: ignore[index]
            each, many, theirs_each = 1000 * cpu / n_new, 1000 * many_cpu / n_new / N_SAMPLES, 1000 * their_cpu / n_new
            print(f"{n_threads} threads, {n_new} tokens {label}: published {their_cpu:.2f} s CPU, {their_wall:.2f} s wall; ", end="")
            print(f"ours {cpu:.3f} and {wall:.3f}: {their_cpu / cpu:.1f} and {their_wall / wall:.1f} times faster, {same} tokens")
            print(f"  ms CPU a token: published {theirs_each:.2f}, ours {each:.3f}, each of {N_SAMPLES} samples {many:.3f}")


if __name__ == "__main__":
    main()
