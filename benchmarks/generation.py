"""Generation against the published loop: 400 tokens after a context of 100, and single tokens past 500, where each is a full pass.

One thread; loading and compiling are not counted. Several samples at once are given per token of one sample.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from setting import Setting
from table import Row, at_least
from timing import Work, medians, one_core

from heartlens.converters.published import Published, published_tokens
from heartlens.engine.generation import generated

N_PROMPT, N_SAMPLES = 100, 16
LEAST_FROM_PROMPT, LEAST_PAST = 40, 4


def rows(setting: Setting) -> Iterator[Row]:
    """CPU time a token, and how many times faster it is than the loop's."""
    windows = setting.windows(1)
    n_new, n_past = (20, 2) if setting.is_quick else (400, 10)
    with one_core():
        yield from _rows(setting, windows.tokens[:, :N_PROMPT], n_new, f"{n_new} tokens after {N_PROMPT}", LEAST_FROM_PROMPT)
        yield from _rows(setting, windows.tokens, n_past, f"a token past {windows.tokens.shape[1]}", LEAST_PAST)


def _rows(setting: Setting, prompt: np.ndarray, n_new: int, label: str, least: float) -> Iterator[Row]:
    loop, drawn = Published(setting.state), dict[str, list[int]]()

    def looped() -> None:
        drawn["loop"] = published_tokens(loop, prompt[0], n_new, 0)

    def ours() -> None:
        drawn["ours"] = generated(setting.model, prompt, n_new, seed=0)[0, 0].tolist()

    generated(setting.model, prompt, 3, seed=0)
    generated(setting.model, prompt, 3, seed=0, n_samples=N_SAMPLES)
    published_tokens(loop, prompt[0], 1, 0)
    many: Work = partial(generated, setting.model, prompt, n_new, seed=0, n_samples=N_SAMPLES)
    taken = medians({"loop": looped, "ours": ours, "many": many}, min(3, setting.n_rounds), warm_up=False)
    cpu_ms = {name: 1000 * each.cpu_s / n_new for name, each in taken.items()}
    same = "the same tokens" if drawn["ours"] == drawn["loop"] else "OTHER TOKENS"
    faster = cpu_ms["loop"] / cpu_ms["ours"]
    yield Row(f"published loop, {label}", f"{cpu_ms['loop']:.2f} ms CPU a token")
    yield Row(
        f"generation, {label}",
        f"{cpu_ms['ours']:.3f} ms CPU a token",
        f"{faster:.1f} times faster than the loop; {same}",
        at_least(least, faster, " times"),
    )
    of_many = cpu_ms["many"] / N_SAMPLES
    yield Row(
        f"generation, {label}, each of {N_SAMPLES} samples", f"{of_many:.3f} ms CPU a token", f"{cpu_ms['loop'] / of_many:.1f} times faster"
    )
