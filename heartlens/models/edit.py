"""Interventions that cannot silently do nothing: `ablated` and `patched`, context managers over a model's hook points.

Within the `with` the model computes with another tensor in the place of its own. An edit whose hook does not fire, whose tensor does not
fit exactly (nothing is broadcast) or that changes no number raises `Refusal`; hooks and flags are put back even if the body fails.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from heartlens.converters.lens import BRIDGED, UNEDITABLE, HookedTransformer, acting
from heartlens.models import hooks
from heartlens.models.interventions.replacement import HOWS, Reference, Value, replacements
from heartlens.parts import Part, listed
from heartlens.refusal import Refusal, unknown
from heartlens.windows import Windows

Heads = Sequence[tuple[int, int]]  # layer and head, from 0
At = Bool[np.ndarray, "window time"]


@contextmanager
def ablated(
    model: HookedTransformer,
    *,
    heads: Heads = (),
    mlps: Sequence[int] = (),
    layers: Sequence[int] = (),
    how: str = "zero",
    reference: Reference | None = None,
    windows: Windows | None = None,
    at: At | None = None,
    may_equal: bool = False,
) -> Iterator[HookedTransformer]:
    """The model without what these heads (layer, head), MLPs and whole layers (attention and MLP) add to the stream.

    `how`: zero, or from a `reference` its mean, another record's (resample), or the mean at the same phase (mean-by-phase; both need the
    `windows` that will run). `at`: only at these tokens. Refuses parts that are not there, and what `patched` refuses.
    """
    if how not in HOWS:
        raise unknown("how", how, HOWS)
    _refuse_parts(model, heads, [*mlps, *layers])
    if not (heads or mlps or layers):
        raise Refusal("nothing to ablate was given; give heads=[(layer, head)], mlps=[layer] or layers=[layer]")
    names = {hooks.z(layer) for layer, _ in heads} | {hooks.mlp_out(layer) for layer in (*mlps, *layers)}
    names |= {hooks.attn_out(layer) for layer in layers}
    values = replacements(model, sorted(names), how, reference, windows)
    parts = [*(Part(*head) for head in heads), *(Part(layer, is_mlp=True) for layer in mlps), *map(Part, layers)]
    label = f"ablated {listed(parts)}, {how}{_tokens_named(at)}"
    with patched(model, values, heads=heads or None, at=at, may_equal=may_equal, label=label):
        yield model


@contextmanager
def patched(
    model: HookedTransformer,
    values: Mapping[str, Value],
    *,
    heads: Heads | None = None,
    at: At | None = None,
    may_equal: bool = False,
    label: str = "",
) -> Iterator[HookedTransformer]:
    """The model with `values` in the place of what passes the named hook points, of these heads alone, at these tokens alone.

    What is measured within says so in its provenance, in the words of `label` where there are some.

    A value is a tensor of the shape of what passes, or makes one from it. `at` selects asking tokens where attention passes. Refuses, when
    the model runs or at the end, a name that is none, a hook that did not fire, a shape that does not fit, and a value that changes
    nothing (unless `may_equal`).
    """
    edits = [_edit(model, name, value, heads, at, may_equal) for name, value in values.items()]
    with ExitStack() as stack:
        for flag in {hooks.FLAGS[last] for edit in edits if (last := edit.name.rsplit(".", 1)[-1]) in hooks.FLAGS}:
            stack.enter_context(_flag(model, flag))
        for edit in edits:
            stack.enter_context(acting(model.hook_dict[edit.name], edit))
        stack.enter_context(_in_force(model, lambda: label or _named(values, heads, at), len(edits)))
        yield model
        silent = [edit.name for edit in edits if not edit.n_fired]
        if silent:
            raise Refusal(f"{', '.join(silent)} did not fire: run the model, to that layer at least, within the `with`")


@dataclass
class _Edit:
    """A hook that puts a value in the place of what passes, and counts how often it did."""

    name: str
    value: Value
    heads: list[int] | None
    at: Tensor | None
    may_equal: bool
    n_fired: int = field(default=0)

    def __call__(self, passing: Tensor) -> Tensor:
        value = self.value(passing) if callable(self.value) else self.value
        if value.shape != passing.shape:
            raise Refusal(f"{self.name} passes {tuple(passing.shape)}; the value is {tuple(value.shape)}, and nothing is broadcast")
        changed = torch.where(self._where(passing), value.to(passing), passing)
        if torch.equal(changed, passing) and not self.may_equal:
            raise Refusal(f"the edit of {self.name} changes nothing: what passes there is the same already (may_equal=True allows it)")
        self.n_fired += 1
        return changed

    def _where(self, passing: Tensor) -> Tensor:
        """Which numbers are replaced."""
        where = torch.ones((1,) * passing.ndim, dtype=torch.bool, device=passing.device)
        axis = hooks.HEAD_AXIS.get(self.name.rsplit(".", 1)[-1])
        if self.heads is not None and axis is not None:
            chosen = torch.zeros(passing.shape[axis], dtype=torch.bool, device=passing.device)
            chosen[self.heads] = True
            where = where & chosen.view(*(-1 if place == axis else 1 for place in range(passing.ndim)))
        if self.at is not None:
            time = 2 if axis == 1 else 1
            if self.at.shape != (passing.shape[0], passing.shape[time]):
                raise Refusal(f"`at` is {tuple(self.at.shape)}, but {self.name} passes {(passing.shape[0], passing.shape[time])} tokens")
            shape = [passing.shape[0], *(passing.shape[time] if place == time else 1 for place in range(1, passing.ndim))]
            where = where & self.at.to(passing.device).view(shape)
        return where


def _edit(model: HookedTransformer, name: str, value: Value, heads: Heads | None, at: At | None, may_equal: bool) -> _Edit:
    if name not in (hooks.names(model.cfg.n_layers) if BRIDGED else model.hook_dict):
        layers = f"blocks.0 to blocks.{model.cfg.n_layers - 1}"
        raise Refusal(f"no hook point is named {name!r}; heartlens.models.hooks spells them, for {layers}")
    hooks.refuse_on_bridge(name, UNEDITABLE, "edited")
    if at is not None and not at.any():
        raise Refusal("`at` selects no token, so the edit would change nothing")
    _refuse_parts(model, heads or (), ())
    has_heads = name.rsplit(".", 1)[-1] in hooks.HEAD_AXIS
    heads_of_layer = [head for layer, head in heads or () if layer == hooks.layer_of(name)]
    if heads is not None and has_heads and not heads_of_layer:
        raise Refusal(f"none of the heads {list(heads)} is of the layer of {name}")
    return _Edit(
        name, value, heads_of_layer if heads is not None and has_heads else None, None if at is None else torch.from_numpy(at), may_equal
    )


def _refuse_parts(model: HookedTransformer, heads: Heads, layers: Sequence[int]) -> None:
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    wrong = [str(head) for head in heads if not (0 <= head[0] < n_layers and 0 <= head[1] < n_heads)]
    wrong += [f"layer {layer}" for layer in layers if not 0 <= layer < n_layers]
    if wrong:
        raise Refusal(f"{', '.join(wrong)} is not there; legal: layers 0 to {n_layers - 1}, heads 0 to {n_heads - 1}, as (layer, head)")


def _tokens_named(at: At | None) -> str:
    return "" if at is None else f", at {int(at.sum())} tokens"


def _named(values: Mapping[str, Value], heads: Heads | None, at: At | None) -> str:
    """An edit in words."""
    of_heads = "" if heads is None else f" of heads {sorted(heads)} (from 0)"
    return f"patched {', '.join(values)}{of_heads}{_tokens_named(at)} with {', '.join(map(_value_named, values.values()))}"


def _value_named(value: Value) -> str:
    if not isinstance(value, Tensor):
        return f"what {getattr(value, '__name__', type(value).__name__)} makes"
    return f"a tensor of SHA-256 {hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]}"


@contextmanager
def _in_force(model: HookedTransformer, label: Callable[[], str], n_hooks: int) -> Iterator[None]:
    """The model knows of an edit, for provenance."""
    labels, counts = getattr(model, "edits_in_force", ()), getattr(model, "n_hooks_in_force", ())
    model.edits_in_force, model.n_hooks_in_force = (*labels, label), (*counts, n_hooks)
    try:
        yield
    finally:
        model.edits_in_force, model.n_hooks_in_force = labels, counts


@contextmanager
def _flag(model: HookedTransformer, flag: str) -> Iterator[None]:
    """A flag of the model is set, and put back afterwards."""
    before = getattr(model.cfg, flag)
    set_flag = getattr(model, f"set_{flag}")
    set_flag(True)
    try:
        yield
    finally:
        set_flag(before)
