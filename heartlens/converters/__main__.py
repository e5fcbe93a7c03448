"""`heartlens verify NAME`: prove that a checkpoint converts, and write the certificate."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from heartlens.axes import CONTEXT
from heartlens.exits import DONE, FAILURE, exit_code, leave
from heartlens.models.origin import kind_of_vocabulary
from heartlens.parser import Parser
from heartlens.refusal import Refusal

N_WINDOWS = 3  # random ones, and as many simulated


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (1 where a tolerance is exceeded)."""
    return exit_code(lambda: verify(_parser().strict(arguments)))


def verify(options: argparse.Namespace) -> int:
    """Print and write the parity certificate."""
    from heartlens.converters.certificate import certify
    from heartlens.models.load import read
    from heartlens.provenance import versions
    from heartlens.store import write_text

    state, origin = read(options.checkpoint, published_only=options.published_only)
    tokens = _windows(len(state["token_embedding_table.weight"]), len(state["position_embedding_table.weight"]), options)
    print(f"{origin.checkpoint}  weights SHA-256 {origin.fingerprint}  {len(tokens)} windows  seed {options.seed}")
    rows = []
    for row in certify(state, tokens):
        mark = "ok" if row.holds else "EXCEEDED"
        print(f"{row.weights:10} {row.precision:8} {row.place:10} {row.difference:9.2e} <= {row.tolerance:.0e}  {mark}")
        rows.append({**vars(row), "holds": row.holds})
    certificate = {
        "origin": vars(origin),
        "windows": len(tokens),
        "seed": options.seed,
        "comparisons": rows,
        "versions": versions(),
    }
    path = options.out or Path("out/parity") / f"{Path(origin.checkpoint).stem}.json"
    try:
        write_text(path, json.dumps(certificate, indent=1))
    except OSError as error:
        raise Refusal(f"{path} cannot be written ({error.strerror or error}); name another file with --out") from error
    print(f"written: {path}", file=sys.stderr)
    return DONE if all(row["holds"] for row in rows) else FAILURE


def _windows(vocabulary: int, context: int, options: argparse.Namespace) -> np.ndarray:
    """Random tokens, and simulated windows where the vocabulary is that of a kind of signal."""
    from heartlens.signals.simulate import simulated

    random = np.random.default_rng(options.seed).integers(vocabulary, size=(N_WINDOWS, context))
    kind = kind_of_vocabulary(vocabulary)
    if kind is None or context != CONTEXT:
        return random
    return np.concatenate([random, simulated(kind, n_records=N_WINDOWS, windows_per_record=1, seed=options.seed).tokens])


def _parser() -> Parser:
    parser = Parser(prog="python -m heartlens.converters", description=__doc__, allow_abbrev=False)
    parser.add_argument("command", choices=("verify",), help="the only one")
    parser.add_argument("checkpoint", help="a name or alias, or a path to one's own file")
    parser.add_argument("--published-only", action="store_true", help="refuse the embedded model that an alias else falls back to")
    parser.add_argument("--out", type=Path, help="the certificate's file (default: out/parity/NAME.json)")
    parser.add_argument("--seed", type=_seed, default=0, help="seed of the windows, from 0 (default: 0)")
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


if __name__ == "__main__":
    leave(main)
