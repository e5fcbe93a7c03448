"""`python -m heartlens.converters verify NAME`: prove that a checkpoint converts, and write the certificate."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from heartlens.axes import CONTEXT
from heartlens.exits import DONE, FAILURE, exit_code
from heartlens.models.origin import kind_of_vocabulary

N_WINDOWS = 3  # random ones, and as many simulated


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (1 where a tolerance is exceeded)."""
    options = _parser().parse_args(arguments)
    return exit_code(lambda: options.command(options))


def verify(options: argparse.Namespace) -> int:
    """Print and write the parity certificate."""
    from heartlens.converters.certificate import certify
    from heartlens.models.load import read
    from heartlens.provenance import versions
    from heartlens.store import write_text

    state, origin = read(options.checkpoint)
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
    write_text(path, json.dumps(certificate, indent=1))
    print(f"written: {path}", file=sys.stderr)
    return DONE if all(row["holds"] for row in rows) else FAILURE


def _windows(vocabulary: int, context: int, options: argparse.Namespace) -> np.ndarray:
    """Random tokens, and simulated windows where the vocabulary is that of a kind of signal."""
    from heartlens.signals.simulate import simulated

    random = np.random.default_rng(options.seed).integers(vocabulary, size=(N_WINDOWS, context)).astype(np.uint8)
    kind = kind_of_vocabulary(vocabulary)
    if kind is None or context != CONTEXT:
        return random
    return np.concatenate([random, simulated(kind, n_records=N_WINDOWS, windows_per_record=1, seed=options.seed).tokens])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m heartlens.converters", description=__doc__)
    commands = parser.add_subparsers(required=True)
    verification = commands.add_parser("verify", help=verify.__doc__)
    verification.add_argument("checkpoint", help="a published name or alias, or a path to one's own file")
    verification.add_argument("--out", type=Path, help="the certificate's file (default: out/parity/NAME.json)")
    verification.add_argument("--seed", type=int, default=0, help="seed of the windows (default: 0)")
    verification.set_defaults(command=verify)
    return parser


if __name__ == "__main__":
    sys.exit(main())
