"""Which TransformerLens tools work on the models that `heartlens.load` gives: each is tried, and its numbers compared with arithmetic.

`make pages` writes docs/transformerlens_tools.md from what happened; tests/test_lens_tools.py fails where the page is out
of date. A check is a function whose docstring says with what the tool's numbers are compared. It returns where they are right, raises
`Wrong` where the tool gives wrong numbers without a word, and lets the tool's own exception pass where it refuses.
"""

import copy
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

PAGE = Path(__file__).parents[2] / "docs" / "transformerlens_tools.md"
CLOSE = 1e-4  # of logits of a few units, in float32
N_TOKENS = 500
FEW = 4  # tokens, where a tool runs the model once for every place
TOOLS: list["Tool"] = []
TITLES = (
    "Running",
    "Signals and text",
    "Weights",
    "Activations kept (`ActivationCache`)",
    "Patching",
    "Looking for heads",
    "Evaluating and training",
)


class Wrong(Exception):
    """The tool ran, and its numbers are not right; the message says how they are wrong."""


@dataclass(frozen=True)
class Tool:
    """One tool: its section, its name, what to use here where it does not work, and the check."""

    section: str
    name: str
    instead: str
    check: Callable[[], None] = field(compare=False)

    @property
    def outcome(self) -> tuple[str, str]:
        """`works`, `wrong` or `fails`, and the reason."""
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                self.check()
            except Wrong as wrong:
                return "wrong", str(wrong)
            except Exception as error:  # whatever the tool raises is its answer
                first = (str(error).strip().splitlines() or [""])[0].split(". ")[0]
                return "fails", f"`{type(error).__name__}`" + (f": {first[:110]}" if first else "")
        return "works", ""


def tool(section: str, name: str, instead: str = "") -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Adds a check to the list."""

    def added(check: Callable[[], None]) -> Callable[[], None]:
        assert section in TITLES
        TOOLS.append(Tool(section, name, instead, check))
        return check

    return added


@cache
def base():
    """The embedded next-token model of the ECG."""
    import heartlens

    return heartlens.load("ecg-sim")


def fresh(name: str = "ecg-sim"):
    """A model that a check may change."""
    return copy.deepcopy(base()) if name == "ecg-sim" else copy.deepcopy(detector())


@cache
def detector():
    """The embedded AF detector: a task head with one output, read at the last token."""
    import heartlens

    return heartlens.load("ecg-sim-af")


@cache
def tokens() -> Tensor:
    """Two windows of N_TOKENS tokens."""
    import heartlens

    return torch.from_numpy(heartlens.simulated("ecg", 2, 1).tokens.astype("int64"))


def few() -> Tensor:
    """The first FEW tokens of both."""
    return tokens()[:, :FEW]


@cache
def cached():
    with torch.no_grad():
        return base().run_with_cache(tokens())


def equal(value: Tensor, expected: Tensor, what: str = "the numbers", tolerance: float = CLOSE) -> None:
    """Raises Wrong where two tensors differ."""
    if value.shape != expected.shape:
        raise Wrong(f"{what} have the shape {tuple(value.shape)}, not {tuple(expected.shape)}")
    far = float((value - expected).abs().max())
    if not far <= tolerance * max(1.0, float(expected.abs().max())):
        raise Wrong(f"{what} are off by {far:.1g}")


def cross_entropy(logits: Tensor, of: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), of[:, 1:].flatten(), reduction="none").view(len(of), -1)


def read_out(model, stream: Tensor) -> Tensor:
    """The logits of a residual stream, written out."""
    centred = stream - stream.mean(-1, keepdim=True)
    normal = centred / (centred.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()
    return (normal * model.ln_final.w + model.ln_final.b) @ model.unembed.W_U + model.unembed.b_U


ANSWERS = {"works": "yes", "wrong": "**no: wrong numbers, without a word**", "fails": "no"}


def row(each: Tool) -> str:
    """The line of the table that the check answers today."""
    answer, why = each.outcome
    reason = each.check.__doc__ if answer == "works" else why.replace("|", "\\|")
    return f"| {each.name} | {ANSWERS[answer]} | {reason} | {'' if answer == 'works' else each.instead} |"


def page(rows: dict[Tool, str]) -> str:
    """The page that holds these rows."""
    from importlib.metadata import version

    counts = {answer: sum(f"| {answer} |" in line for line in rows.values()) for answer in ANSWERS.values()}
    parts = [
        "# Which TransformerLens tools work",
        "Made by `make pages`: every tool is tried on the embedded models `ecg-sim` (next token) and `ecg-sim-af`\n"
        "(a task head with one output), which have the published architecture, and its numbers are compared with arithmetic. A test\n"
        f"fails where this page is out of date. TransformerLens {version('transformer-lens')}: of {len(rows)} tools, or groups of tools, "
        f"{counts[ANSWERS['works']]} work, {counts[ANSWERS['fails']]} raise an error,\n"
        f"and {counts[ANSWERS['wrong']]} give wrong numbers without a word. For version 4 see [its own page](transformer_lens_4.md).",
        "A model is `heartlens.load(...)`, a `HookedTransformer` without a tokenizer: its tokens are the 101 (ECG) or 102 (PPG) heights\n"
        "of a signal. So what needs text cannot work, and what takes tokens does, but for what is listed.",
    ]
    for title in TITLES:
        heading = ["| tool | works | compared with, or why not | use here |", "|---|---|---|---|"]
        parts += [f"## {title}", "\n".join([*heading, *(line for each, line in rows.items() if each.section == title)])]
    return "\n\n".join(parts) + "\n"


from lens_tools import running, text, weights, activations, patching, searching  # noqa: E402, F401, I001 - in the order of the page
