"""Small models of random weights: what tests run on where no head needs to do anything in particular (else `heartlens.models.planted`)."""

import torch

from heartlens.axes import CONTEXT
from heartlens.converters.bridge import converted_model
from heartlens.converters.sizes import Sizes
from heartlens.models.origin import Origin


def random_state(layers=2, heads=2, d_head=4, vocabulary=101, scale=0.3, seed=0, task_head=False):
    """A small model of normal weights: large enough a scale for heads that differ. A task head has one output."""
    d_model = heads * d_head
    sizes = Sizes(layers, heads, d_model, d_head, 2 * d_model, vocabulary, CONTEXT, 1 if task_head else vocabulary, task_head)
    shapes = sizes.shapes().items()
    generator = torch.Generator().manual_seed(seed)
    return {name: _norm(name, shape) if "ln" in name else torch.randn(shape, generator=generator) * scale for name, shape in shapes}


def model_of(state, kind="ecg", dtype=torch.float32):
    """The model with hook points of an original state dict, with an origin as `load` gives it."""
    model = converted_model(state, dtype=dtype, name="planted")
    model.origin = Origin("planted", kind, None, "", "", "", "", "none")
    return model


def _norm(name, shape):
    return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
