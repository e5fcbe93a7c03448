"""Workers change how long it takes, not what comes out."""

import os
import threading

import numpy as np
import pytest
import torch
from originals import tiny_model

from heartlens.engine import engine_of
from heartlens.engine.workers import on_chunks, workers_for


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_results_and_their_order_do_not_depend_on_the_number_of_workers(n_workers):
    weights = tiny_model().W_E.detach().numpy()

    def work(chunk):
        """Something that depends on the chunk, to the last bit."""
        return (weights * chunk).sum()

    chunks = list(np.random.default_rng(0).normal(size=11))
    assert list(on_chunks(work, chunks, n_workers)) == [work(chunk) for chunk in chunks]


def test_so_many_chunks_are_worked_on_at_once_and_each_on_one_thread():
    """The first three wait for each other; were it fewer at once, the barrier would break."""
    together, before = threading.Barrier(3), torch.get_num_threads()
    torch.set_num_threads(2)

    def work(chunk):
        together.wait(timeout=60)
        return torch.get_num_threads()

    try:
        assert list(on_chunks(work, range(3), 3)) == [1, 1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_chunks_are_not_asked_for_long_before_they_are_worked_on():
    asked = []

    def chunks():
        for chunk in range(100):
            asked.append(chunk)
            yield chunk

    results = on_chunks(abs, chunks(), 2)
    next(results)
    assert len(asked) == 4
    results.close()


def test_a_failing_chunk_ends_the_work_with_its_own_error():
    with pytest.raises(ZeroDivisionError):
        list(on_chunks(lambda chunk: 1 // chunk, [1, 0, 1, 1], 2))


def test_a_model_with_somebodys_hooks_gets_one_worker(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    model = tiny_model()
    assert workers_for(engine_of(model)) == 3
    model.add_perma_hook("blocks.0.attn.hook_pattern", lambda pattern, hook: pattern)
    assert workers_for(engine_of(model)) == 1
