"""`python -m heartlens.converters verify NAME`: prove that a checkpoint converts. `export NAME FILE`: write it in the published layout."""

import argparse
import json
import sys
from pathlib import Path

from heartlens.exits import DONE, FAILURE, exit_code


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code (1 where a tolerance is exceeded)."""
    options = _parser().parse_args(arguments)
    return exit_code(lambda: options.command(options))


def verify(options: argparse.Namespace) -> int:
    """Print and write the parity certificate."""
    import torch
    import transformer_lens

    from heartlens.converters.certificate import certify
    from heartlens.models.load import read
    from heartlens.store import write_text

    state, origin = read(options.checkpoint)
    tokens = _windows(len(state["token_embedding_table.weight"]), len(state["position_embedding_table.weight"]), options)
    print(f"{origin.checkpoint}  weights SHA-256 {origin.fingerprint}  {len(tokens)} windows  seed {options.seed}")
    rows = []
    for row in certify(state, tokens):
        print(f"{row.weights:10} {row.precision:8} {row.place:10} {row.difference:9.2e} <= {row.tolerance:.0e}  {'ok' if row.holds else 'EXCEEDED'}")
        rows.append({**vars(row), "holds": row.holds})
    certificate = {
        "origin": vars(origin),
        "windows": len(tokens),
        "seed": options.seed,
        "comparisons": rows,
        "versions": {"torch": torch.__version__, "transformer_lens": getattr(transformer_lens, "__version__", "3.9")},
    }
    path = options.out or Path("out/parity") / f"{Path(origin.checkpoint).stem}.json"
    write_text(path, json.dumps(certificate, indent=1))
    print(f"written: {path}", file=sys.stderr)
    return DONE if all(row["holds"] for row in rows) else FAILURE


def export(options: argparse.Namespace) -> int:
    """Write a checkpoint's tensors under the published names."""
    import torch

    from heartlens.models.load import read
    from heartlens.refusal import Refusal

    state, origin = read(options.checkpoint)
    if options.file.exists():
        raise Refusal(f"{options.file} exists; name another file or remove it")
    partial = options.file.with_name(options.file.name + ".partial")
    torch.save(state, partial)
    partial.replace(options.file)
    print(f"{origin.checkpoint} -> {options.file}", file=sys.stderr)
    return DONE
