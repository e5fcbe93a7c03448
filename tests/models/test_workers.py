"""Workers change how long it takes, not what comes out."""

import numpy as np
import pytest
from originals import tiny_model

from heartlens.models import workers


def shifted_sum(model, chunk):
    """Something that depends on the model and the chunk, to the last bit."""
    return (model.W_E.detach().numpy() * chunk).sum()


@pytest.mark.parametrize("n_cpus", [1, 2, 5])
def test_results_and_their_order_do_not_depend_on_the_number_of_workers(monkeypatch, n_cpus):
    monkeypatch.setattr(workers, "workers_for", lambda model: n_cpus)
    model = tiny_model()
    chunks = list(np.random.default_rng(0).normal(size=11))
    assert list(workers.on_chunks(shifted_sum, model, chunks)) == [shifted_sum(model, chunk) for chunk in chunks]


def test_each_worker_has_a_copy_of_its_own_and_the_model_is_left_alone(monkeypatch):
    monkeypatch.setattr(workers, "workers_for", lambda model: 3)
    model = tiny_model()

    def spoil(mine, chunk):
        mine.W_E.data.zero_()
        return id(mine)

    assert id(model) not in set(workers.on_chunks(spoil, model, range(12)))
    assert float(model.W_E.detach().abs().min()) > 0


def test_a_failing_chunk_ends_the_work_with_its_own_error(monkeypatch):
    monkeypatch.setattr(workers, "workers_for", lambda model: 2)
    with pytest.raises(ZeroDivisionError):
        list(workers.on_chunks(lambda model, chunk: 1 // chunk, tiny_model(), [1, 0, 1, 1]))


def test_a_model_with_somebodys_hooks_gets_one_worker():
    model = tiny_model()
    assert workers.workers_for(model) >= 1
    model.add_perma_hook("blocks.0.attn.hook_pattern", lambda pattern, hook: pattern)
    assert workers.workers_for(model) == 1
