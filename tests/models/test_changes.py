"""What changed of the weights, and twins that change as much: expectations from what was changed by hand."""

import numpy as np
import pytest
import torch
from planted import model_of, random_state
from safetensors.torch import save_file

from heartlens.converters.lens import parameters
from heartlens.models.changes import base_beside, head_changes, n_alike, tensor_changes
from heartlens.models.nulls.perturbed import perturbed
from heartlens.models.subject import subject_of

QUERY, OUT = "blocks.1.sa.heads.0.query.weight", "blocks.1.sa.proj.weight"


def models(change):
    old = random_state()
    return model_of({**old, **{name: value(old[name]) for name, value in change.items()}}), model_of(old)


def test_only_what_was_changed_has_changed():
    """A tensor half as large again has changed by 1/2 of itself, one of its heads' halves by as much."""
    tuned, base = models({QUERY: lambda old: 1.5 * old, OUT: lambda old: torch.cat([old[:, :4], 3 * old[:, 4:]], dim=1)})
    expected = np.zeros((2, 2, 4))
    expected[1, 0, 0], expected[1, 1, 3] = 0.5, 2  # Q of head 0, O of head 1: columns 4 to 7
    assert head_changes(tuned, base) == pytest.approx(expected, rel=1e-6)
    changes = tensor_changes(tuned, base)
    assert changes.pop(QUERY) == pytest.approx(0.5)
    kept, tripled = (random_state()[OUT][:, part].norm() for part in (slice(0, 4), slice(4, 8)))
    assert changes.pop(OUT) == pytest.approx(float(2 * tripled / (kept**2 + tripled**2).sqrt()))
    assert set(changes.values()) == {0.0}


def test_what_was_zero_has_changed_by_infinitely_much():
    tuned, base = models({"blocks.0.ln1.bias": lambda old: old + 1})
    assert tensor_changes(tuned, base)["blocks.0.ln1.bias"] == np.inf
    assert (head_changes(tuned, base) == 0).all()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [((), 1), ((OUT,), 1), ((OUT, "ln_f.weight"), 1), (("blocks.0.ffwd.net.0.bias", OUT), 0), (("position_embedding_table.weight",), 0)],
)
def test_how_many_first_blocks_compute_the_same(changed, expected):
    """Of two: the last never counts."""
    subject, base = map(subject_of, models({name: lambda old: old + 1 for name in changed}))
    runs_hooks = subject.engine.name == "hooked"  # as every model of TransformerLens 4 is run: hooks may act on any block
    assert n_alike(subject, base) == (0 if runs_hooks else expected)
    subject.weights.add_perma_hook("blocks.0.attn.hook_z", lambda z, hook: z * 0)
    assert n_alike(subject_of(subject.weights), base) == 0


def test_the_base_has_the_models_precision(tmp_path):
    save_file(random_state(), tmp_path / "base.safetensors")
    tuned = model_of(random_state(), dtype=torch.float64)
    base = base_beside(subject_of(tuned), str(tmp_path / "base.safetensors"))
    assert base.model.W_E.dtype == torch.float64
    assert torch.equal(base.model.W_Q, tuned.W_Q)


def test_a_perturbed_twin_is_as_far_from_the_base_as_the_model():
    tuned, base = models({QUERY: lambda old: 1.5 * old, OUT: lambda old: old + 1, "ln_f.weight": lambda old: old * 1.1})
    twins = [
        (name, twin.origin, twin.W_Q.clone(), head_changes(twin, base), tensor_changes(twin, base)) for name, twin in _twins(tuned, base)
    ]
    assert [name for name, *_ in twins] == ["perturbed 0", "perturbed 1"]
    assert not torch.equal(twins[0][2], twins[1][2])
    for _, origin, _, heads, tensors in twins:
        assert origin == tuned.origin
        assert heads == pytest.approx(head_changes(tuned, base), rel=1e-5)
        assert tensors == pytest.approx(tensor_changes(tuned, base), rel=1e-5)


def _twins(tuned, base):
    return perturbed(tuned, base, 2, seed=0)


def test_nothing_changed_gives_twins_that_are_the_base():
    tuned, base = models({})
    (_, twin), *_ = _twins(tuned, base)
    assert all(torch.equal(a, b) for a, b in zip(parameters(twin).values(), parameters(base).values(), strict=True))
