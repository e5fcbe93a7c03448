"""Models whose attention is known by construction, and windows it can be known on: weights written by hand in the original layout.

Every window has a beat each CYCLE tokens, R at token BEAT of its cycle, so that token t lies in cycle t // CYCLE. The position embedding
holds four facts, each as +1 and -1 in a pair of dimensions: the cycle (one-hot), P or not, first token or not, and a constant. So
every position has mean 0 and variance 8 / 64, LayerNorm multiplies all alike by sqrt(8), and with scores divided by sqrt(64) = 8 a query
weight of w on a fact adds exactly w to the score. Values, projections and MLPs are 0: nothing changes the residual stream.
"""

import numpy as np
import torch

from heartlens.converters.hooked import hooked_model
from heartlens.converters.sizes import Sizes
from heartlens.models.origin import Origin
from heartlens.signals.cut import cut
from heartlens.signals.landmarks import Landmarks
from heartlens.windows import concatenate

CONTEXT, CYCLE, BEAT = 500, 80, 26
N_CYCLES = 7  # the last one cut off
SPANS = {"P": (8, 16), "QRS": (22, 30), "T": (48, 62)}  # first and last token of each wave in its cycle
STRENGTH = 20.0  # e^-20 is what a rival key gets
PAIRS = {"cycle": 0, "P": 14, "constant": 16, "first": 18}  # the dimension where each fact's positive half begins
PLANTED = Sizes(layers=2, heads=8, d_model=64, d_head=8, d_mlp=8, vocabulary=101, context=CONTEXT, outputs=101, has_task_head=False)


def in_wave(wave):
    """Which of the CONTEXT tokens lie in a wave."""
    first, last = SPANS[wave]
    return (np.arange(CONTEXT) % CYCLE >= first) & (np.arange(CONTEXT) % CYCLE <= last)


def regular_windows(n_records, waves=("P", "QRS", "T"), seed=0):
    """A window of noise for each record, all with the same landmarks."""
    rng = np.random.default_rng(seed)
    beats = np.arange(N_CYCLES) * CYCLE
    spans = sorted((beat + SPANS[wave][0], beat + SPANS[wave][1], wave) for beat in beats for wave in waves)
    onset_s, offset_s = (np.array([span[edge] for span in spans]) / 100 for edge in (0, 1))
    names = np.array([wave for *_, wave in spans])
    marks = Landmarks("ecg", (beats + BEAT) / 100, names, onset_s, (onset_s + offset_s) / 2, offset_s, (0.0, 4.99), "by construction")
    return concatenate([cut(rng.normal(size=CONTEXT), marks, f"record {number}") for number in range(n_records)])


def blank_state(sizes=PLANTED):
    """A model of zeros with LayerNorms of 1: every head attends evenly and writes nothing."""
    return {
        name: torch.ones(shape) if "ln" in name and name.endswith("weight") else torch.zeros(shape)
        for name, shape in sizes.shapes().items()
    }


def planted_state(heads):
    """A model in which only `heads` attend unevenly: {(layer, head): lag in cycles at whose P it looks, or "first token"}."""
    state = blank_state()
    state["position_embedding_table.weight"] = _positions()
    for (layer, head), target in heads.items():
        query, key = (state[f"blocks.{layer}.sa.heads.{head}.{name}.weight"] for name in ("query", "key"))
        query[7, PAIRS["constant"]] = STRENGTH
        key[7, PAIRS["first" if target == "first token" else "P"]] = 1.0
        for cycle in range(N_CYCLES) if target != "first token" else ():
            key[cycle, PAIRS["cycle"] + cycle] = 1.0
            if 0 <= cycle - target < N_CYCLES:
                query[cycle - target, PAIRS["cycle"] + cycle] = STRENGTH
    return state


def random_state(layers=2, heads=2, d_head=4, vocabulary=101, scale=0.3, seed=0):
    """A small model of normal weights: large enough a scale for heads that differ."""
    d_model = heads * d_head
    sizes = Sizes(layers, heads, d_model, d_head, 2 * d_model, vocabulary, CONTEXT, vocabulary, False)
    generator = torch.Generator().manual_seed(seed)
    return {name: one if "ln" in name else torch.randn(one.shape, generator=generator) * scale for name, one in blank_state(sizes).items()}


def silenced(state, layer, head):
    """The state with one head dead: its query, key and value weights are 0."""
    part = f"blocks.{layer}.sa.heads.{head}."
    return {name: torch.zeros_like(one) if name.startswith(part) else one for name, one in state.items()}


def model_of(state, kind="ecg", dtype=torch.float32):
    """The HookedTransformer of an original state dict, with an origin as `load` gives it."""
    model = hooked_model(state, dtype=dtype, name="planted")
    model.origin = Origin("planted", kind, None, "", "", "", "", "none")
    return model


def _positions():
    position = torch.zeros(CONTEXT, PLANTED.d_model)
    token = torch.arange(CONTEXT)
    position[token, PAIRS["cycle"] + token // CYCLE] = 1.0
    position[token, PAIRS["cycle"] + N_CYCLES + token // CYCLE] = -1.0
    facts = {"P": torch.from_numpy(in_wave("P")), "constant": torch.ones(CONTEXT, dtype=torch.bool), "first": token == 0}
    for name, holds in facts.items():
        position[:, PAIRS[name]] = torch.where(holds, 1.0, -1.0)
        position[:, PAIRS[name] + 1] = -position[:, PAIRS[name]]
    return position
