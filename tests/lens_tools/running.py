"""Runs of a model: losses, caches, hooks, generation, copies."""

import copy
import pickle
from functools import partial

import torch
from torch import Tensor

from lens_tools import CLOSE, FEW, N_TOKENS, Wrong, base, cached, cross_entropy, detector, equal, few, fresh, read_out, tokens, tool


@tool("Running", "`model(tokens)`")
def forward():
    """the published architecture, written out in plain PyTorch, with the same weights"""
    from heartlens.converters.original import original_state
    from heartlens.converters.reference import reference_forward

    with torch.no_grad():
        equal(base()(tokens()), reference_forward(original_state(base()), tokens()).logits)


@tool("Running", '`model(tokens, return_type="loss")`')
def loss():
    """the mean of `torch.nn.functional.cross_entropy` over all tokens but the first"""
    equal(base()(tokens(), return_type="loss"), cross_entropy(base()(tokens()), tokens()).mean())


@tool("Running", '`model(tokens, return_type="loss", loss_per_token=True)`')
def loss_per_token():
    """the same, token by token"""
    equal(base()(tokens(), return_type="loss", loss_per_token=True), cross_entropy(base()(tokens()), tokens()))


@tool(
    "Running",
    '`return_type="loss"` of a model with a task head',
    "`torch.nn.functional.binary_cross_entropy_with_logits` of the logit at the last token, `model(tokens)[:, -1, 0]`",
)
def loss_of_task_head():
    """the binary cross-entropy of the last token's logit"""
    detector()(tokens(), return_type="loss")
    raise Wrong("a number comes out that is the loss of nothing: tokens are taken for classes")


@tool("Running", "`model.run_with_cache(tokens)`")
def run_with_cache():
    """the last stream in the cache, read out by hand, gives the logits"""
    logits, kept = cached()
    equal(read_out(base(), kept["resid_post", -1]), logits)


@tool("Running", "`names_filter=`, `stop_at_layer=`, `pos_slice=`")
def partial_runs():
    """the same numbers of the whole run, and no others"""
    _, kept = base().run_with_cache(tokens(), names_filter=lambda name: name.endswith("hook_z"), pos_slice=slice(0, 5))
    assert set(kept.keys()) == {f"blocks.{layer}.attn.hook_z" for layer in range(base().cfg.n_layers)}
    equal(kept["z", 1], cached()[1]["z", 1][:, :5])
    equal(base()(tokens(), stop_at_layer=2), cached()[1]["resid_post", 1])


@tool("Running", "`start_at_layer=`")
def start_at_layer():
    """a run that starts from the stream of the cache gives the logits"""
    equal(base()(cached()[1]["resid_pre", 2], start_at_layer=2), cached()[0])


@tool("Running", "`model.run_with_hooks`, `model.hooks`, `model.add_hook`")
def hooks():
    """a head set to zero in all three ways, and by `heartlens.ablated`"""
    import heartlens

    def without(value, hook):
        value[:, :, 1] = 0
        return value

    at = "blocks.2.attn.hook_z"
    with torch.no_grad():
        with heartlens.ablated(base(), heads=[(2, 1)]):
            expected = base()(tokens())
        assert float((expected - cached()[0]).abs().max()) > CLOSE
        equal(base().run_with_hooks(tokens(), fwd_hooks=[(at, without)]), expected)
        with base().hooks(fwd_hooks=[(at, without)]):
            equal(base()(tokens()), expected)
        model = fresh()
        model.add_hook(at, without)
        equal(model(tokens()), expected)
        model.reset_hooks()
        equal(model(tokens()), cached()[0])


@tool("Running", "Backward hooks, gradients")
def gradients():
    """the gradient of a logit with respect to a stream: the change of the logit when the stream moves a little along it (float64)"""
    model = fresh().to(torch.float64)
    caught = {}
    model.add_hook("blocks.1.hook_resid_post", lambda gradient, hook: caught.update(gradient=gradient.clone()), dir="bwd")
    stream = model.run_with_cache(few())[1]["resid_post", 1]
    model(few())[0, -1, 50].backward()
    direction, step = caught["gradient"], 1e-5
    with torch.no_grad():
        change = model(stream + step * direction, start_at_layer=2)[0, -1, 50] - model(stream, start_at_layer=2)[0, -1, 50]
    equal(change / step, direction.pow(2).sum(), tolerance=1e-3)


@tool("Running", "`set_use_attn_result`, `set_use_split_qkv_input`, `set_use_attn_in`, `set_use_hook_mlp_in`")
def flags():
    """logits stay as they are, and the hook points fire; `hook_result` summed over heads plus the bias is `hook_attn_out`"""
    for flag, point in (
        ("attn_result", "attn.hook_result"),
        ("split_qkv_input", "hook_q_input"),
        ("attn_in", "hook_attn_in"),
        ("hook_mlp_in", "hook_mlp_in"),
    ):
        model = fresh()
        getattr(model, f"set_use_{flag}")(True)
        with torch.no_grad():
            logits, kept = model.run_with_cache(tokens())
        equal(logits, cached()[0])
        assert f"blocks.1.{point}" in kept
        if flag == "attn_result":
            equal(kept["result", 1].sum(2) + model.b_O[1], kept["attn_out", 1])


def greedy(n_new: int) -> Tensor:
    """Greedy tokens by a loop that runs the whole context every time."""
    grown = tokens()[:, :FEW]
    for _ in range(n_new):
        with torch.no_grad():
            grown = torch.cat([grown, base()(grown)[:, -1:].argmax(-1)], 1)
    return grown


@tool(
    "Running",
    "`model.generate(tokens)` with its defaults",
    "`use_past_kv_cache=False, stop_at_eos=False`, or `heartlens generate ecg` (`engine.generation.generated`): the published loop",
)
def generate():
    """tokens come out"""
    base().generate(few(), max_new_tokens=4, do_sample=False, verbose=False)


@tool("Running", "`model.generate(tokens, use_past_kv_cache=False, stop_at_eos=False)`")
def generate_without_cache():
    """the likeliest token of the whole context, one after the other"""
    made = base().generate(few(), max_new_tokens=6, do_sample=False, use_past_kv_cache=False, stop_at_eos=False, verbose=False)
    equal(made.float(), greedy(6).float())


@tool(
    "Running",
    "`model.generate` beyond 500 tokens",
    "`heartlens generate ecg`, whose window of 500 tokens slides as the published loop's does",
)
def generate_long():
    """the likeliest token after the last 500"""
    made = base().generate(tokens(), max_new_tokens=3, do_sample=False, use_past_kv_cache=False, stop_at_eos=False, verbose=False)
    grown = tokens()
    for _ in range(3):
        with torch.no_grad():
            grown = torch.cat([grown, base()(grown[:, -N_TOKENS:])[:, -1:].argmax(-1)], 1)
    equal(made.float(), grown.float())


@tool(
    "Running",
    "`TransformerLensKeyValueCache` (`past_kv_cache=`)",
    "`heartlens.engine.generation.generated`, which keeps keys and values itself",
)
def key_value_cache():
    """the logits of one run over all tokens"""
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    with torch.no_grad():
        kept = TransformerLensKeyValueCache.init_cache(base().cfg, "cpu", 2)
        parts = [base()(part, past_kv_cache=kept) for part in (few()[:, :3], few()[:, 3:])]
        equal(torch.cat(parts, 1), base()(few()))


@tool("Running", "A sparse autoencoder spliced in with `run_with_hooks`, as SAELens does")
def spliced_autoencoder():
    """a dictionary that rebuilds the stream exactly changes no logit; with a feature off, the logits are those of the stream without it"""
    d_model = base().cfg.d_model
    rotation = torch.linalg.qr(torch.randn(d_model, d_model, generator=torch.Generator().manual_seed(0)))[0]
    both = torch.cat([rotation, -rotation])  # with a ReLU, a direction and its opposite are two features

    def rebuilt(value, hook, off=None):
        features = (value @ both.T).relu()
        if off is not None:
            features[..., off] = 0
        return features @ both

    at = "blocks.1.hook_resid_post"
    stream = cached()[1]["resid_post", 1]
    with torch.no_grad():
        equal(base().run_with_hooks(tokens(), fwd_hooks=[(at, rebuilt)]), cached()[0])
        without = stream - (stream @ both[3]).relu()[..., None] * both[3]
        equal(base().run_with_hooks(tokens(), fwd_hooks=[(at, partial(rebuilt, off=3))]), base()(without, start_at_layer=2))


@tool("Running", "`model.to(torch.float64)`, `copy.deepcopy`, `pickle`, `state_dict`")
def copies():
    """the logits of a copy, and of the model in double precision"""
    with torch.no_grad():
        equal(copy.deepcopy(base())(tokens()), cached()[0])
        equal(pickle.loads(pickle.dumps(base()))(tokens()), cached()[0])
        equal(fresh().to(torch.float64)(tokens()).float(), cached()[0])
        other = fresh()
        other.W_U.data.zero_()
        other.load_state_dict(base().state_dict())
        equal(other(tokens()), cached()[0])
