"""The parity certificate: how far a converted model is from the original architecture, at logits, attention and residual stream.

Each comparison is against `reference.py` in the same precision, over simulated windows and random tokens. Attention differs absolutely,
the residual stream relative to its length at each token, logits relative to the token's largest one, or to 1 where that is smaller: the
rounding of a float32 sum grows with its terms and differs between processors (of ppg-sim, whose logits reach 22, it was 2e-4 on one).
Centred writing weights take the mean out of the residual stream,
which no LayerNorm sees; there it is compared without its mean.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heartlens.converters.bridge import converted_model
from heartlens.converters.lens import HookedTransformer
from heartlens.converters.original import original_state
from heartlens.converters.reference import Activations, reference_forward

TOLERANCE = {  # in float32 the reference itself is 2e-5 from its float64 attention on random tokens; float64 is the proof
    torch.float32: {"logits": 1e-4, "attention": 1e-4, "residual": 1e-4},
    torch.float64: {"logits": 1e-9, "attention": 1e-9, "residual": 1e-9},
}
WEIGHTS: dict[str, Any] = {"raw": {}, "processed": {"fold_ln": True, "center_writing_weights": True}}


@dataclass(frozen=True)
class Comparison:
    """The largest difference at one place, and what is tolerated there."""

    weights: str
    precision: str
    place: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is a number within the tolerance."""
        return self.difference <= self.tolerance


def certify(state: Mapping[str, Tensor], tokens: np.ndarray) -> Iterator[Comparison]:
    """Every comparison of the conversion of `state` on `tokens` (window, time), and that exporting it gives back its bits."""
    asked = torch.from_numpy(tokens.astype(np.int64))
    for precision, tolerances in TOLERANCE.items():
        expected = reference_forward(state, asked, precision)
        for weights, processing in WEIGHTS.items():
            converted = hooked_forward(converted_model(state, dtype=precision, **processing), asked)
            for place, difference in differences(converted, expected, centred=weights == "processed").items():
                yield Comparison(weights, str(precision).removeprefix("torch."), place, difference, tolerances[place])
    dtype = state["token_embedding_table.weight"].dtype
    yield Comparison("raw", str(dtype).removeprefix("torch."), "export", _changed_bits(state, dtype), 0.0)


@torch.no_grad()
def hooked_forward(model: HookedTransformer, tokens: Tensor) -> Activations:
    """The same activations from a model with hook points."""
    logits, cache = model.run_with_cache(tokens)
    layers = range(model.cfg.n_layers)
    residual = [cache["resid_pre", 0], *(cache["resid_post", layer] for layer in layers)]
    return Activations(logits, torch.stack([cache["pattern", layer] for layer in layers]), torch.stack(residual))


def differences(converted: Activations, expected: Activations, centred: bool) -> dict[str, float]:
    """The largest difference at each place; NaN anywhere counts as infinite."""
    left, right = (x.residual - x.residual.mean(dim=-1, keepdim=True) if centred else x.residual for x in (converted, expected))
    relative = (left - right).norm(dim=-1) / right.norm(dim=-1)
    size = expected.logits.abs().amax(dim=-1, keepdim=True).clamp_min(1)
    gaps = {
        "logits": (converted.logits - expected.logits) / size,
        "attention": converted.attention - expected.attention,
        "residual": relative,
    }
    return {place: torch.nan_to_num(gap.abs().max(), nan=torch.inf).item() for place, gap in gaps.items()}


def _changed_bits(state: Mapping[str, Tensor], dtype: torch.dtype) -> float:
    again = original_state(converted_model(state, dtype=dtype))
    same = again.keys() == state.keys() and all(torch.equal(again[name], state[name]) for name in state)
    return 0.0 if same else float("inf")
