"""Names and words, where a language model has them."""

import torch

from lens_tools import base, equal, tokens, tool

TOKENISE = "`heartlens.read`, or `heartlens.signals.tokens.tokenised` of an array: a token is a height, not a word"


@tool("Signals and text", '`HookedTransformer.from_pretrained("ecgpt-560k")`', '`heartlens.load("ecgpt-560k")`')
def from_pretrained():
    """a model comes out"""
    from transformer_lens import HookedTransformer

    HookedTransformer.from_pretrained("ecgpt-560k")


@tool("Signals and text", '`model.to_tokens("...")`, `model("...")`', TOKENISE)
def to_tokens():
    """tokens come out"""
    base().to_tokens("a heart beats")


@tool(
    "Signals and text",
    "`model.to_string(tokens)`, `model.to_str_tokens(tokens)`",
    "`heartlens.signals.tokens.amplitude(tokens, low, high)`: heights in the recording's unit",
)
def to_string():
    """text comes out"""
    base().to_string(tokens()[0])


@tool("Signals and text", "`model.to_single_token`, `model.get_token_position`", TOKENISE)
def to_single_token():
    """a token comes out"""
    base().to_single_token("a")


@tool("Signals and text", "`utils.test_prompt`", "`heartlens generate ecg` or `hl.run(hl.Ablation(), ...)`")
def test_prompt():
    """an answer comes out"""
    from transformer_lens.utils import test_prompt as prompted

    prompted("a heart", "beats", base())


@tool(
    "Signals and text",
    "`model.load_sample_training_dataset`, `model.sample_datapoint`",
    '`heartlens.simulated("ecg")` and `heartlens.read(...)`',
)
def sample_datapoint():
    """a text comes out"""
    base().sample_datapoint()


@tool("Signals and text", "`model.tokens_to_residual_directions(token)`")
def residual_directions():
    """the token's column of the unembedding"""
    equal(base().tokens_to_residual_directions(torch.tensor(40)), base().W_U[:, 40])
