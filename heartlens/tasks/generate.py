"""How does the signal go on? The published sliding-window loop's tokens for the seed, for any number of samples, with any parts ablated.

Sample i is the published loop after `torch.manual_seed(seed + i)`. Heights are those of the context's window (its smallest and largest
sample are tokens 0 and 100), in the recording's unit.
"""

import re
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np

from heartlens.axes import CONTEXT, KINDS
from heartlens.engine.generation import generated
from heartlens.exits import DONE, exit_code
from heartlens.parser import Parser
from heartlens.refusal import Refusal
from heartlens.signals.tokens import amplitude, tokenised
from heartlens.tasks import NOT_MEDICAL
from heartlens.tasks.command import add_output, opened_subject, write_tables
from heartlens.tasks.recordings import add_recordings, files_of, recordings_of

PART = re.compile(r"L([1-9][0-9]*)(?:H([1-9][0-9]*))?|MLP([1-9][0-9]*)", re.IGNORECASE)
COLUMNS = ("sample", "time_s", "token", "height")


def main() -> None:
    """Continue the recording of the command line and leave with the exit code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens generate", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkpoint", help="a next-token model: ecg, ppg, or one's own file")
    add_recordings(parser)
    parser.add_argument("--n", type=int, default=CONTEXT, metavar="N", help=f"tokens to generate (default: {CONTEXT})")
    parser.add_argument("--context", type=int, default=CONTEXT, metavar="N", help=f"samples of context, the last ones (default: {CONTEXT})")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="continuations, with seeds SEED, SEED + 1, ... (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first continuation (default: 0)")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 takes the likeliest token (default: 1)")
    parser.add_argument("--top-k", type=int, metavar="K", help="draw among the K likeliest tokens alone")
    parser.add_argument("--ablate", metavar="PARTS", help="parts set to zero, say L4H5,MLP8 (counted from 1)")
    add_output(parser)
    given = parser.strict(arguments)
    if not 2 <= given.context <= CONTEXT:
        raise Refusal(f"--context is {given.context}; legal: 2 to {CONTEXT}, what the model sees")
    subject = opened_subject(given, "generate")
    given_recordings = list(recordings_of(files_of(given, subject.kind), subject.kind, given.keep_names))
    if len(given_recordings) != 1:
        raise Refusal(f"{len(given_recordings)} recordings are given; give one to continue")
    (prepared,) = given_recordings
    if prepared.reason:
        raise Refusal(f"{prepared.name}: {prepared.reason}")
    signal, start_s = prepared.stretches[-1]
    window = signal[-CONTEXT:]
    context = tokenised(window[None])[:, -given.context :]
    new = continued(subject, context, given)
    rate_hz, end_s = KINDS[subject.kind].rate_hz, start_s + len(signal) / KINDS[subject.kind].rate_hz
    heights = amplitude(new, window.min(), window.max())
    rows = [
        (sample, f"{end_s + place / rate_hz:.3f}", int(token), f"{height:.6g}")
        for sample, (tokens, own) in enumerate(zip(new, heights, strict=True))
        for place, (token, height) in enumerate(zip(tokens, own, strict=True))
    ]
    write_tables(given.out, {"generated.csv": (COLUMNS, rows)})
    _draw(given, subject, window, new)
    print(f"{given.samples} x {given.n} tokens after {prepared.name}; {subject.origin.checkpoint}; {NOT_MEDICAL}", file=sys.stderr)
    return DONE


def continued(subject: Any, context: np.ndarray, given: Any) -> np.ndarray:
    """The new tokens (sample, time), with the parts of `given.ablate` set to zero."""
    from heartlens.models.edit import ablated

    options = {"seed": given.seed, "n_samples": given.samples, "temperature": given.temperature, "top_k": given.top_k}
    parts: dict[str, Any] = parts_named(given.ablate) if given.ablate else {}
    sizes = subject.sizes
    for layer, head in [*parts.get("heads", ()), *((layer, 0) for layer in (*parts.get("mlps", ()), *parts.get("layers", ())))]:
        if layer >= sizes.n_layers or head >= sizes.n_heads:
            raise Refusal(
                f"--ablate {given.ablate!r}: {subject.origin.checkpoint} has layers 1 to {sizes.n_layers}, heads 1 to {sizes.n_heads}"
            )
    with ablated(subject.model, **parts) if parts else nullcontext(subject.engine) as running:
        return generated(running, context, given.n, **options)[0]


def parts_named(text: str) -> dict[str, list[Any]]:
    """The heads, MLPs and layers of a list like L4H5,MLP8,L3 (counted from 1), as `ablated` takes them. Refuses other names.

    >>> parts_named("L4H5,MLP8,L3")
    {'heads': [(3, 4)], 'mlps': [7], 'layers': [2]}
    """
    parts: dict[str, list[Any]] = {"heads": [], "mlps": [], "layers": []}
    for name in text.split(","):
        match = PART.fullmatch(name.strip())
        if match is None:
            raise Refusal(
                f"--ablate {text!r}: {name.strip()!r} names no part; legal: heads as L4H5, MLPs as MLP8, layers as L3, with commas"
            )
        layer, head, mlp = match.groups()
        if mlp is not None:
            parts["mlps"].append(int(mlp) - 1)
        elif head is not None:
            parts["heads"].append((int(layer) - 1, int(head) - 1))
        else:
            parts["layers"].append(int(layer) - 1)
    return parts


def _draw(given: Any, subject: Any, window: np.ndarray, new: np.ndarray) -> None:
    """The context and the continuations: their median and the range that holds 90 %, or the one there is."""
    from heartlens import figures

    rate_hz, seen = KINDS[subject.kind].rate_hz, tokenised(window[None])[0].astype(float)
    before_s, after_s = (np.arange(len(seen)) - len(seen)) / rate_hz, np.arange(new.shape[1]) / rate_hz
    with figures.style():
        page = figures.page(figures.COLUMN_MM, 50)
        axes = page.subplots()
        named = {"context": (before_s, seen), "generated": (after_s, np.median(new, axis=0))}
        for name, (time_s, token) in named.items():
            axes.plot(time_s, token, linewidth=0.8, label=name)
        if len(new) > 1:
            axes.fill_between(after_s, *np.quantile(new, (0.05, 0.95), axis=0), alpha=0.3, linewidth=0, label=f"90 % of {len(new)}")
        axes.set(xlabel="time from the end of the context (s)", ylabel="token")
        axes.legend(frameon=False)
    for suffix in ("pdf", "png"):
        figures.save(page, given.out / f"generated.{suffix}")


if __name__ == "__main__":
    main()
