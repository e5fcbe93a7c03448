"""What an ablated part's activation is replaced by: zero, its mean, another record's, or its mean at the same phase of the cycle.

Means are taken over a reference sample of windows, so that they depend on no batch: `mean` at each place of the window (the position
embedding makes the first tokens, the sink, unlike all others), `mean-by-phase` over tokens of the same phase (one of N_PHASES bins; tokens
of unknown phase among themselves). `resample` takes the activation of a reference window of another person: one for each window, by its
identity, so that it is the same wherever that window is measured.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heartlens.converters.lens import HookedTransformer
from heartlens.engine import Engine
from heartlens.models import hooks
from heartlens.refusal import Refusal
from heartlens.windows import Windows

HOWS = ("zero", "mean", "resample", "mean-by-phase")
N_PHASES = 20

Value = Tensor | Callable[[Tensor], Tensor]


class Reference:
    """A model's activations on a sample of windows, each hook point's kept once it was asked for."""

    def __init__(self, model: HookedTransformer, sample: Windows, activations: Mapping[str, Tensor] | None = None) -> None:
        self.model, self.sample = model, sample
        self._kept: dict[str, Tensor] = dict(activations or {})

    def activation(self, name: str) -> Float[Tensor, "window time ..."]:
        """What passes a hook point on the sample; the first question asks for all layers' at once."""
        if name not in self._kept:
            layer = hooks.layer_of(name)
            of_layers = [name.replace(f"blocks.{layer}.", f"blocks.{other}.") for other in range(self.model.cfg.n_layers)]
            tokens = torch.from_numpy(self.sample.tokens.astype(np.int64)).to(self.model.W_E.device)
            self._kept |= hooks.activations(self.model, tokens, [name] if layer is None else of_layers)
        return self._kept[name]

    def value(self, name: str, how: str, windows: Windows | None) -> Value:
        """What replaces the activation at a hook point on `windows` (not needed for the mean). Refuses what `partners` refuses."""
        activation = self.activation(name)
        if how == "mean":
            mean = activation.mean(dim=0)
            return lambda passing: mean.expand_as(passing)
        if windows is None:
            raise Refusal(f"how={how!r} needs the windows that will run; give windows=")
        if how == "resample":
            return activation[torch.from_numpy(partners(windows, self.sample))]
        return _by_phase(activation, _bins(self.sample))[torch.from_numpy(_bins(windows))]


def activations_of_parts(engine: Engine, tokens: Int[Tensor, "window time"]) -> dict[str, Tensor]:
    """What passes every layer's z, attn_out and mlp_out, by the names of these hook points."""
    with torch.inference_mode():
        x = engine.embed(tokens)
        passing: dict[str, Tensor] = {}
        for layer in range(engine.sizes.n_layers):
            parts = engine.parts(x, layer)
            passing |= {hooks.z(layer): parts.z, hooks.attn_out(layer): parts.mid - x, hooks.mlp_out(layer): parts.post - parts.mid}
            x = parts.post
    return passing


def replacements(
    model: HookedTransformer, names: list[str], how: str, reference: Reference | None = None, windows: Windows | None = None
) -> dict[str, Value]:
    """What replaces the activations at the named hook points. All but `how="zero"` take a reference of the same model."""
    if how == "zero":
        return dict.fromkeys(names, torch.zeros_like)
    if reference is None or reference.model is not model:
        raise Refusal(
            f"how={how!r} needs a reference of this very model: heartlens.models.interventions.replacement.Reference(model, windows)"
        )
    return {name: reference.value(name, how, windows) for name in names}


def partners(windows: Windows, sample: Windows) -> Int[np.ndarray, " window"]:
    """For each window the index of a window of the sample that is of another person. Refuses a sample of the same person only.

    A record whose person is not known stands for itself.
    """
    chosen = []
    for unit, identity in zip(windows.unit, windows.identity, strict=True):
        others = np.flatnonzero(sample.unit != unit)
        if not len(others):
            raise Refusal(f"{unit} is the only record or person, and resampling takes another's activation; give windows of two or more")
        in_order = others[np.lexsort([sample.record[others], sample.identity[others]])]
        chosen.append(in_order[int(str(identity), 16) % len(others)])
    return np.array(chosen, dtype=np.int64)


def _bins(windows: Windows) -> Int[np.ndarray, "window time"]:
    """Each token's phase bin; N_PHASES where the phase is not known."""
    has_phase = ~np.isnan(windows.phase)
    return np.where(has_phase, np.minimum(np.nan_to_num(windows.phase) * N_PHASES, N_PHASES - 1), N_PHASES).astype(np.int64)


def _by_phase(activation: Tensor, bins: Int[np.ndarray, "window time"]) -> Float[Tensor, "bin ..."]:
    """The mean activation in each bin; that of all tokens where a bin is empty."""
    flat, place = activation.flatten(0, 1), torch.from_numpy(bins).flatten().to(activation.device)
    total = torch.zeros(N_PHASES + 1, *flat.shape[1:], dtype=flat.dtype, device=flat.device).index_add_(0, place, flat)
    count = torch.bincount(place, minlength=N_PHASES + 1).view(-1, *(1 for _ in flat.shape[1:]))
    return torch.where(count > 0, total / count.clamp_min(1), flat.mean(dim=0))
