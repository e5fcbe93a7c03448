"""How much each part of the last block changed a fine-tuned model's logit against its base's: exact shares that sum to the change.

Base and fine-tuned model share all blocks but the last. Its parts are swapped from the base's to the tuned: each head (its LayerNorm,
query, key, value and output weights), the attention's bias, the MLP (with its LayerNorm), and the final norm; the output weights are the
tuned ones throughout, since the base has none for the task. A part's share is its Shapley value (Shapley 1953): the change it makes when
it is swapped in, mean over all orders. All 2^(heads + 3) mixtures are run, which is cheap: only the tokens that are read need them.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from heartlens.engine import Engine, Stream
from heartlens.refusal import Refusal

MOST_HEADS = 10  # 8192 mixtures
TOLERANCE = 1e-4  # of the largest logit, or of 1 where all are smaller
OTHERS = ("attention_bias", "mlp", "final_norm")

Tokens = Integer[np.ndarray, "window time"]


@dataclass(frozen=True)
class Shares:
    """The logit, mean over the tokens read, of base blocks and tuned output, of the tuned model, and each part's share of the change."""

    base: Float[np.ndarray, " window"]
    tuned: Float[np.ndarray, " window"]
    heads: Float[np.ndarray, "window head"]
    others: Float[np.ndarray, "window other"]


def shares_of(tuned: Engine, base: Engine, tokens: Tokens, asked: Bool[np.ndarray, "window time"]) -> Shares:
    """The shares of the parts of the last block in the change of the first output, at the tokens `asked`.

    Refuses models whose earlier blocks differ, or of more heads than MOST_HEADS. Raises a RuntimeError if base blocks and
    shares together differ from the tuned model's own output by more than TOLERANCE.
    """
    _refuse_unlike(tuned, base)
    n_heads = tuned.sizes.n_heads
    with torch.inference_mode():
        given = torch.from_numpy(tokens.astype(np.int64)).to(tuned.device)
        x = tuned.run_blocks(tuned.embed(given), 0, tuned.sizes.n_layers - 1)
        added = [_added(engine, x) for engine in (base, tuned)]
        mixtures = np.full((2,) * (n_heads + len(OTHERS)) + (len(tokens),), np.nan)
        for window, row in enumerate(torch.from_numpy(asked).to(x.device)):
            added_at_row = [(heads[window][:, row], bias) for heads, bias in added]
            mixtures[..., window] = _mixtures(tuned, base, x[window][row], added_at_row).reshape(mixtures.shape[:-1])
        logit = tuned.outputs(tuned.run_blocks(x, tuned.sizes.n_layers - 1))[..., 0].double().cpu().numpy()
    whole = np.array([of_window[row].mean() if row.any() else np.nan for of_window, row in zip(logit, asked, strict=True)])
    shapley = _shapley(mixtures)
    shares = Shares(mixtures[(0,) * shapley.shape[0]], mixtures[(1,) * shapley.shape[0]], shapley[:n_heads].T, shapley[n_heads:].T)
    _compare(shares, whole)
    return shares


def _refuse_unlike(tuned: Engine, base: Engine) -> None:
    last = f"blocks.{tuned.sizes.n_layers - 1}."
    ends = (last, "ln_final", "unembed")
    tensors = dict(base.model.named_parameters())
    unlike = [
        name for name, tensor in tuned.model.named_parameters() if not name.startswith(ends) and not torch.equal(tensor, tensors[name])
    ]
    if unlike:
        raise Refusal(f"the models differ before the last block, in {', '.join(unlike[:3])}; the change splits over the last block only")
    if tuned.sizes.n_heads > MOST_HEADS:
        raise Refusal(f"the model has {tuned.sizes.n_heads} heads; legal: up to {MOST_HEADS}, since every mixture of parts is run")


def _added(engine: Engine, x: Stream) -> tuple[Float[Tensor, "window head time d_model"], Float[Tensor, " d_model"]]:
    """What each head of the last block adds to the stream, and the bias."""
    layer = engine.sizes.n_layers - 1
    z = engine.mixed(x, layer)
    bias = engine.attention_out(torch.zeros_like(z[:1, :1]), layer)[0, 0]
    return engine.added(z, layer).transpose(0, 1), bias


def _mixtures(
    tuned: Engine,
    base: Engine,
    x: Float[Tensor, "time d_model"],
    added: list[tuple[Float[Tensor, "head time d_model"], Float[Tensor, " d_model"]]],
) -> Float[np.ndarray, " mixture"]:
    """The mean logit over a window's tokens of every mixture, the first part's turn the slowest; of no token 0."""
    stream = x[None]
    parts = [*zip(added[0][0], added[1][0], strict=True), (added[0][1].expand_as(x), added[1][1].expand_as(x))]
    for of_base, of_tuned in parts:
        stream = torch.stack([stream + of_base, stream + of_tuned], dim=1).flatten(0, 1)
    layer = tuned.sizes.n_layers - 1
    after = torch.stack([stream + engine.mlp_out(stream, layer) for engine in (base, tuned)], dim=1)
    normed = torch.stack([engine.normed(after) for engine in (base, tuned)], dim=2)
    logits = tuned.unembedded(normed)[..., 0].double()
    return np.asarray((logits.sum(dim=-1) / max(x.shape[0], 1)).flatten().cpu().numpy())


def _shapley(value: Float[np.ndarray, "..."]) -> Float[np.ndarray, "part window"]:
    """Each part's mean change over all orders; the last axis of `value` is the window, every other a part's absence or presence."""
    n_parts = value.ndim - 1
    n_others = np.indices((2,) * (n_parts - 1)).sum(axis=0).ravel()
    weight = np.array([1 / (n_parts * math.comb(n_parts - 1, n)) for n in n_others])
    changes = [np.diff(value, axis=part).reshape(-1, value.shape[-1]) for part in range(n_parts)]
    return np.stack([weight @ change for change in changes])


def _compare(shares: Shares, whole: Float[np.ndarray, " window"]) -> None:
    is_read = np.isfinite(whole)
    total = shares.base + shares.heads.sum(axis=-1) + shares.others.sum(axis=-1)
    off = float(np.max(np.abs(total - whole)[is_read] / max(1.0, float(np.abs(whole[is_read]).max(initial=0))), initial=0))
    if not off <= TOLERANCE:
        raise RuntimeError(
            f"the shares of the last block's parts are off the tuned model's output by {off:.2g} of it; at most {TOLERANCE:g}"
        )
