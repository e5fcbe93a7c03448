"""The torch engine takes fewer windows at a time where the memory runs out, with the same sums, and refuses where it does not hold one."""

from typing import Any

import numpy as np
import pytest
import torch

import heartlens as hl
from heartlens.engine import Asked
from heartlens.engine.batched import TorchEngine
from heartlens.refusal import Refusal

N_WINDOWS, N_TIME = 7, 40
TOKENS = torch.from_numpy(np.random.default_rng(0).integers(0, 100, (N_WINDOWS, N_TIME)))
ASKED = Asked(np.zeros((N_WINDOWS, N_TIME), np.int32), np.zeros(1, np.int32), runs=np.tile(np.int32([[3, 9]]), (N_WINDOWS, 1, 1)))


def of_memory_for(n_windows: int, monkeypatch: pytest.MonkeyPatch, part: str) -> list[int]:
    """Has a part of the engine run out of memory on more windows than that; returns the list of how many it was tried on."""
    tried, original = [], getattr(TorchEngine, part)

    def limited(self: Any, x: torch.Tensor, *rest: Any, **named: Any) -> Any:
        tried.append(len(x))
        if len(x) > n_windows:
            raise torch.OutOfMemoryError
        return original(self, x, *rest, **named)

    monkeypatch.setattr(TorchEngine, part, limited)
    monkeypatch.setattr(TorchEngine, "_free", lambda self: 3 * 2**20)
    return tried


def test_fewer_windows_at_a_time_give_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(hl.load("ecg-sim"))
    whole, rows = list(engine.sums(TOKENS, ASKED)), list(engine.attention(TOKENS, n_rows=2))
    tried = of_memory_for(2, monkeypatch, "_pattern")
    for own, reference in zip(engine.sums(TOKENS, ASKED), whole, strict=True):
        for name in ("columns", "on_runs", "entropy", "first_share"):
            np.testing.assert_allclose(getattr(own, name), getattr(reference, name), rtol=1e-5, atol=1e-6)
    assert tried[:5] == [7, 3, 1, 1, 1]  # a layer begins with all again: the memory may be free by then
    for own, reference in zip(engine.attention(TOKENS, n_rows=2), rows, strict=True):
        np.testing.assert_allclose(own.pattern, reference.pattern, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", ["embed", "_pattern", "after"])
def test_a_memory_that_holds_no_window_is_refused(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(hl.load("ecg-sim"))
    of_memory_for(0, monkeypatch, part)
    with pytest.raises(Refusal, match=r"^cpu has 3 MiB free, and the attention of one window needs 0; give --device cpu \(device='cpu'\)$"):
        next(engine.sums(TOKENS, ASKED))
