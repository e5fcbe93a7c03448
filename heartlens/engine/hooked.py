"""The hooked engine: the model's own blocks, part by part, so that the user's hooks act. The reference for the other engines.

Every part is run through TransformerLens' own modules and hook points; a value that is put in the place of another (what heads mix, say) is
put there at its hook point, before the user's own hooks.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from heartlens.converters.lens import acting, embedding, is_unmasked, parameters, stream_after, unmasked
from heartlens.converters.weights import Weights, hooked_of
from heartlens.engine.protocol import Asked, LayerAttention, LayerSums, Mixed, ModelEngine, Parts, Start, Stream, Tokens, sums_of_pattern
from heartlens.refusal import Refusal

PARTS = {  # settings with which a model still has the parts that analyses ask for
    "attn_only": (False,),
    "n_key_value_heads": (None,),
    "output_logits_soft_cap": (-1.0, 0.0, None),
    "parallel_attn_mlp": (False,),
    "positional_embedding_type": ("standard", "rotary", "alibi"),
}


class HookedEngine(ModelEngine):
    """See the module's first lines, and `protocol.Engine` for the methods."""

    name = "hooked"

    def __init__(self, model: Any) -> None:
        model = hooked_of(model) if isinstance(model, Weights) else model
        _refuse_other_parts(model)
        super().__init__(model)

    def embed(self, tokens: Tokens) -> Stream:
        return embedding(self.model, tokens.to(self.device))

    def parts(self, x: Stream, layer: int) -> Parts:
        block = self.model.blocks[layer]
        with _passing({"z": block.attn.hook_z, "mid": block.hook_resid_mid}) as passed:
            post = stream_after(block, x)
        return Parts(passed["z"], passed["mid"], post)

    def mixed(self, x: Stream, layer: int) -> Mixed:
        return self.parts(x, layer).z

    def attended(self, x: Stream, layer: int, changed: Stream, reader: str, head: int) -> Float[Tensor, "window query d_head"]:
        attn = self.model.blocks[layer].attn
        points = {"Q": attn.hook_q, "K": attn.hook_k, "V": attn.hook_v}
        with _passing({"read": points[reader]}) as passed:
            stream_after(self.model.blocks[layer], changed)
        with _replaced(points[reader], passed["read"]), _passing({"z": attn.hook_z}) as passed:
            stream_after(self.model.blocks[layer], x.expand_as(changed))
        return passed["z"][:, :, head]

    def after(self, x: Stream, layer: int, *, z: Mixed | None = None, attention: Stream | None = None, mlp: Stream | None = None) -> Stream:
        block = self.model.blocks[layer]
        values = {block.attn.hook_z: z, block.hook_attn_out: attention, block.hook_mlp_out: mlp}
        with ExitStack() as stack:
            for point, value in values.items():
                if value is not None:
                    stack.enter_context(_replaced(point, value))
            return stream_after(block, x)

    def attention_out(self, z: Mixed, layer: int) -> Stream:
        block = self.model.blocks[layer]
        with _replaced(block.attn.hook_z, z), _passing({"out": block.hook_attn_out}) as passed:
            stream_after(block, z.new_zeros(*z.shape[:2], self.sizes.d_model))
        return passed["out"]

    def added(self, z: Mixed, layer: int) -> Float[Tensor, "head window time d_model"]:
        return torch.einsum("bthd,hdm->hbtm", z, self._output_weights(layer))

    def mlp_out(self, mid: Stream, layer: int) -> Stream:
        block = self.model.blocks[layer]
        with _replaced(block.hook_resid_mid, mid), _passing({"out": block.hook_mlp_out}) as passed:
            stream_after(block, mid)
        return passed["out"]

    def last_token(self, x: Stream) -> Float[Tensor, "window 1 d_model"]:
        return stream_after(self.model.blocks[-1], x)[:, -1:]

    def run_blocks(self, x: Stream, start: int, stop: int | None = None) -> Stream:
        for block in self.model.blocks[start : self.sizes.n_layers if stop is None else stop]:
            x = stream_after(block, x)
        return x

    def normed(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return self.model.ln_final(x)

    def unembedded(self, normed: Float[Tensor, "... d_model"]) -> Float[Tensor, "... output"]:
        return self.model.unembed(normed)

    def sums(self, tokens: Tokens, asked: Asked, *, last_block_unmasked: bool = False) -> Iterator[LayerSums]:
        if is_unmasked(self.model.blocks[-1]) and not last_block_unmasked:
            raise Refusal(
                "the last block of this model sees later tokens too, and these sums are causal; head_scan has --variant published"
            )
        for layer, (pattern, value) in enumerate(self._patterns(tokens, last_block_unmasked)):
            if asked.by_value:
                with torch.inference_mode():
                    moved_norm = (value.transpose(1, 2) @ self._output_weights(layer)).norm(dim=-1)
                    pattern = pattern * moved_norm[:, :, None]
                    pattern = torch.nan_to_num(pattern / pattern.sum(dim=-1, keepdim=True))
            yield sums_of_pattern(pattern.cpu().numpy(), asked, layer)

    def attention(
        self, tokens: Tokens, *, n_rows: int | None = None, last_block_unmasked: bool = False, start: Start | None = None
    ) -> Iterator[LayerAttention]:
        n_time = tokens.shape[1]
        for layer, (pattern, _) in enumerate(self._patterns(tokens, last_block_unmasked, start), start[0] if start else 0):
            rows = pattern[:, :, n_time - (n_rows or n_time) :]
            yield LayerAttention(layer, rows.cpu().numpy())

    def _patterns(self, tokens: Tokens, last_block_unmasked: bool, start: Start | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Each block's pattern and its values (window, key, head, d_head), after every hook."""
        with torch.inference_mode():
            first, x = start or (0, self.embed(tokens))
        for layer, block in enumerate(self.model.blocks[first:], first):
            points = {"pattern": block.attn.hook_pattern, "value": block.attn.hook_v}
            masks = unmasked(block) if last_block_unmasked and layer == self.sizes.n_layers - 1 else nullcontext()
            with torch.inference_mode(), masks, _passing(points) as passed:
                x = stream_after(block, x)
            yield passed["pattern"], passed["value"]

    def _output_weights(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        return parameters(self.model)[f"blocks.{layer}.attn.W_O"]


def _refuse_other_parts(model: Any) -> None:
    """Refuses a model whose blocks are other than attention and then an MLP, or whose outputs are other than the unembedded stream."""
    cfg = getattr(model, "cfg", None)
    if cfg is None or not hasattr(model, "blocks") or not hasattr(model, "W_E"):
        raise Refusal(f"{type(model).__name__} is not a HookedTransformer; give one, such as hl.load(...)")
    unlike = [f"{name}={getattr(cfg, name)}" for name, legal in PARTS.items() if getattr(cfg, name, legal[0]) not in legal]
    if unlike:
        raise Refusal(f"no engine runs this model: {', '.join(unlike)}; legal: blocks of attention, then MLP, as HeartGPT's")


@contextmanager
def _passing(points: Mapping[str, Any]) -> Iterator[dict[str, Tensor]]:
    """What passes the hook points, as it is after every hook that was set before."""
    passed: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, point in points.items():
            stack.enter_context(acting(point, partial(_keep, passed, name)))
        yield passed


def _keep(passed: dict[str, Tensor], name: str, passing: Tensor) -> None:
    passed[name] = passing


@contextmanager
def _replaced(point: Any, value: Tensor) -> Iterator[None]:
    """Another tensor in the place of what passes a hook point, before the hooks that were set earlier. Refuses one of another shape."""

    def put(passing: Tensor) -> Tensor:
        if passing.shape != value.shape:
            raise Refusal(f"{point.name} passes {tuple(passing.shape)}; the value is {tuple(value.shape)}, and nothing is broadcast")
        return value

    with acting(point, put, first=True):
        yield
