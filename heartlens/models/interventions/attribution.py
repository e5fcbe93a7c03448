"""What each part of a model adds to a logit, exactly; the logit lens by level; and the estimate of patching by integrated gradients.

With the final LayerNorm's scale of each token as it is, a logit is a sum: u . ((x - mean(x)) / sd * w + b) + b_U is linear in whatever adds
to the stream x. The sum is compared with the model's own output every time. The activations are the model's, their products float64.
Estimated patching: (corrupt - clean activation) . gradient, its mean on the straight way of one layer's activations (Sundararajan 2017;
Hanna 2024); on the way of the embeddings it ranks heads less like exact patching (measured: 0.6 against 0.9). Reading: nostalgebraist 2020,
"the logit lens"; Nanda 2023, "attribution patching".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from heartlens.converters.lens import epsilon, parameters
from heartlens.engine import Engine, Parts, Stream
from heartlens.engine.batched import TorchEngine
from heartlens.models.interventions.replacement import activations_of_parts
from heartlens.models.interventions.sweep import HEADS, MLP, intact, swept

TOLERANCE = 1e-4  # of the largest logit, or of 1 where all are smaller

Tokens = Int[Tensor, "window time"]
Value = Callable[[Tensor], Tensor]  # (... window time output) -> (... window)


def read(logits: Float[Tensor, "*variant window time output"], token: Tokens | None) -> Float[Tensor, "*variant window time"]:
    """The logit of `token` at each place, less the mean of all; of a task head (`token` None) its only output."""
    if token is None:
        return logits[..., 0]
    wanted = token.expand(logits.shape[:-1])[..., None]
    return logits.gather(-1, wanted)[..., 0] - logits.mean(dim=-1)


def direct_terms(engine: Engine, tokens: Tokens, token: Tokens | None) -> dict[str, Float[Tensor, "window time ..."]]:
    """What `read` gives, as a sum of terms at each place: heads (layer, head), their biases and the MLPs (layer), and the rest.

    Raises a RuntimeError if the sum differs from the model's own output by more than TOLERANCE.
    """
    with torch.inference_mode():
        parts = _blocks(engine, engine.embed(tokens))
        along, constant = _linear(engine, parts[-1].post.double(), token)
        added = (engine.added(part.z, layer) for layer, part in enumerate(parts))  # one layer's at a time: they are large
        biases = [engine.attention_out(torch.zeros_like(part.z[:1, :1]), layer)[0, 0] for layer, part in enumerate(parts)]
        terms = {
            "direct": torch.stack([torch.einsum("hbtd,btd->bth", of_heads.double(), along) for of_heads in added], dim=2),
            "direct_mlp": torch.stack([_onto(part.post.double() - part.mid.double(), along) for part in parts], dim=2),
            "direct_attention_bias": torch.stack([_onto(bias.double(), along) for bias in biases], dim=2),
            "direct_embedding": _onto(engine.model.W_E[tokens].double(), along),
            "direct_position": _onto(engine.model.W_pos[: tokens.shape[1]].double(), along),
            "direct_constant": constant,
        }
        together = torch.stack([term.flatten(2).sum(dim=-1) if term.ndim > 2 else term for term in terms.values()]).sum(dim=0)
        _compare(together, read(engine.outputs(parts[-1].post), token))
    return terms


def _blocks(engine: Engine, x: Stream) -> list[Parts]:
    parts = []
    for layer in range(engine.sizes.n_layers):
        parts.append(engine.parts(x, layer))
        x = parts[-1].post
    return parts


def _linear(
    engine: Engine, stream: Stream, token: Tokens | None
) -> tuple[Float[Tensor, "window time d_model"], Float[Tensor, "window time"]]:
    """The vector whose product with what is added to the stream is what that adds to `read`, and what is there without any stream."""
    weights = parameters(engine.model)
    columns, bias = weights["unembed.W_U"].double(), weights["unembed.b_U"].double()
    if token is None:
        vector, constant = columns[:, 0].expand_as(stream), bias[0].expand(stream.shape[:2])
    else:
        vector = (columns - columns.mean(dim=-1, keepdim=True)).T[token]
        constant = (bias - bias.mean())[token]
    if "ln_final.b" in weights:
        constant = constant + vector @ weights["ln_final.b"].double()
        vector = vector * weights["ln_final.w"].double()
    scaled = vector / (stream.var(dim=-1, correction=0, keepdim=True) + epsilon(engine.model)).sqrt()
    return scaled - scaled.mean(dim=-1, keepdim=True), constant


def _onto(added: Tensor, along: Tensor) -> Float[Tensor, "window time"]:
    return (added * along).sum(dim=-1)


def _compare(total: Tensor, logit: Tensor) -> None:
    off = float((total - logit).abs().max() / logit.abs().max().clamp_min(1))
    if not off <= TOLERANCE:
        raise RuntimeError(f"the terms of the direct attribution are off the model's output by {off:.2g} of it; at most {TOLERANCE:g}")


@dataclass(frozen=True)
class Lens:
    """What the final norm and unembedding make of the stream at every level.

    `logit`: what `read` gives. `line`: the expected next token (sum of token x probability); of a task head its logit. `nats`: the mean
    cross-entropy of the window's next tokens; 0 of a task head.
    """

    logit: Float[Tensor, "window level time"]
    line: Float[Tensor, "window level time"]
    nats: Float[Tensor, "window level"]


def lens(engine: Engine, tokens: Tokens, token: Tokens | None) -> Lens:
    """The lens at the embedding and after each block; the last level is the model's output."""
    with torch.inference_mode():
        x = engine.embed(tokens)
        seen = [_seen(engine, stream, tokens, token) for stream in (x, *(part.post for part in _blocks(engine, x)))]
        return Lens(*(torch.stack(each, dim=1) for each in zip(*seen, strict=True)))


def _seen(engine: Engine, stream: Stream, tokens: Tokens, token: Tokens | None) -> tuple[Tensor, Tensor, Tensor]:
    logits = engine.outputs(stream)
    if token is None:
        return logits[..., 0], logits[..., 0], logits.new_zeros(len(logits))
    log_chance = logits.log_softmax(dim=-1)
    nats = -log_chance[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0].mean(dim=-1)
    return read(logits, token), log_chance.exp() @ torch.arange(logits.shape[-1]).to(logits), nats


def tokens_of(engine: Engine, numbers: Integer[np.ndarray, "window time"]) -> Tokens:
    """Token numbers as the model takes them."""
    return torch.from_numpy(numbers.astype(np.int64)).to(engine.device)


def value_of(token: Tokens | None, weight: Float[np.ndarray, "window time"]) -> Value:
    """The sum of `read` over a window's tokens, with weights: the one number that patching changes."""
    return lambda logits: (read(logits, token) * torch.from_numpy(weight).to(logits)).sum(dim=-1)


def whole_effect(engine: Engine, clean: Tokens, corrupt: Tokens, value: Value) -> Float[Tensor, " window"]:
    """How much the value changes where the corrupt tokens are run instead of the clean ones."""
    with torch.inference_mode():
        return value(intact(engine, corrupt)) - value(intact(engine, clean))


@dataclass(frozen=True)
class Effects:
    """How much a value changes where a head's or an MLP's activation on the clean tokens is replaced by that on the corrupt ones."""

    heads: Float[Tensor, "window layer head"]
    mlps: Float[Tensor, "window layer"]


def estimated_effects(engine: Engine, clean: Tokens, corrupt: Tokens, value: Value, n_steps: int) -> tuple[Effects, Effects]:
    """The estimates of all effects by integrated gradients, and by the gradient at the clean activations alone."""
    if engine.name == "fused":  # the compiled kernel has no gradients
        engine = TorchEngine(engine.model)
    places = torch.tensor([0.0, *((step + 0.5) / n_steps for step in range(n_steps))]).to(engine.device, engine.dtype)
    with torch.no_grad():
        x = engine.embed(clean)
        before, after = _blocks(engine, x), _blocks(engine, engine.embed(corrupt))
    heads, mlps = [], []
    for layer, (a, b) in enumerate(zip(before, after, strict=True)):
        of_z, of_mlp = _on_the_way(engine, x, a, b, layer, places, value)
        heads.append(of_z.sum(dim=(2, 4)))
        mlps.append(of_mlp.sum(dim=(2, 3)))
        x = a.post
    effects = torch.stack(heads, dim=2), torch.stack(mlps, dim=2)  # by place and window
    integrated, at_clean = ([each[chosen].mean(dim=0) for each in effects] for chosen in (slice(1, None), slice(0, 1)))
    return Effects(*integrated), Effects(*at_clean)


def _on_the_way(
    engine: Engine, x: Tensor, clean: Parts, corrupt: Parts, layer: int, places: Tensor, value: Value
) -> tuple[Float[Tensor, "place window time head d_head"], Float[Tensor, "place window time d_model"]]:
    """Change times gradient of a layer's z, and of what its MLP adds, at several places between clean and corrupt; all else is clean."""
    n_places, n_windows = len(places), len(x)
    mlp, change = clean.post - clean.mid, corrupt.z - clean.z
    of_mlp = corrupt.post - corrupt.mid - mlp
    z = (clean.z + places.view(-1, 1, 1, 1, 1) * change).detach().requires_grad_()
    added = (mlp + places.view(-1, 1, 1, 1) * of_mlp).detach().requires_grad_()
    many = x.expand(n_places, *x.shape).flatten(0, 1)
    after = torch.cat([engine.after(many, layer, z=z.flatten(0, 1)), (clean.mid + added).flatten(0, 1)])
    logits = engine.outputs(engine.run_blocks(after, layer + 1))
    read = value(logits.view(2 * n_places, n_windows, *logits.shape[1:]))
    slope_z, slope_mlp = torch.autograd.grad(read.sum(), (z, added))
    return change * slope_z, of_mlp * slope_mlp


def exact_effects(engine: Engine, clean: Tokens, corrupt: Tokens, value: Value) -> Effects:
    """All effects, by running the clean tokens with one activation after the other replaced."""
    replacing = activations_of_parts(engine, corrupt)
    with torch.inference_mode():
        whole = value(intact(engine, clean))
        by_layer = [value(layer.outputs) - whole for layer in swept(engine, clean, replacing, (HEADS, MLP))]
    changes = torch.stack(by_layer, dim=0).permute(2, 0, 1)
    return Effects(changes[..., :-1], changes[..., -1])
