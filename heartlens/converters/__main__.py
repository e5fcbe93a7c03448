"""Checkpoints: list them, fetch the published ones, verify that one converts exactly, convert one to another format.

`heartlens checkpoints list`, `fetch ecg ppg` (or `all`), `verify NAME` (proves that a checkpoint converts, and writes the certificate) and
`convert mine.pth --out mine.safetensors` (`--to hooked`: the state dict of TransformerLens' HookedTransformer).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from heartlens.axes import CONTEXT
from heartlens.exits import DONE, FAILURE, exit_code, leave
from heartlens.models.origin import kind_of_vocabulary
from heartlens.parser import Parser, add_offline, path_given
from heartlens.refusal import Refusal

N_WINDOWS = 3  # random ones, and as many simulated


def main(arguments: list[str] | None = None) -> int:
    """The exit code of the command (1 where `verify` finds a tolerance exceeded)."""
    return exit_code(lambda: _run(_parser().strict(arguments)))


def main_verify(arguments: list[str]) -> int:
    """The exit code of `verify` alone."""
    return main(["verify", *arguments])


def _run(options: argparse.Namespace) -> int:
    if options.command == "list":
        if options.checkpoint or options.out:
            raise Refusal("list takes no checkpoint and no --out; it lists all that have a name")
        return list_all(options.json)
    if len(options.checkpoint) != 1 and not (options.command == "fetch" and options.checkpoint):
        raise Refusal(f"{options.command} takes {'checkpoints by name' if options.command == 'fetch' else 'one checkpoint'}; see --help")
    if options.command == "fetch":
        return fetch(options.checkpoint)
    options.checkpoint = options.checkpoint[0]
    return verify(options) if options.command == "verify" else convert(options)


def list_all(as_json: bool) -> int:
    """Print what has a name: its alias, kind of signal, task, and where it is on this machine."""
    from heartlens.checkpoints.fetch import embedded_path, find
    from heartlens.checkpoints.kept import kept_path
    from heartlens.checkpoints.registry import ALIASES, CHECKPOINTS

    rows = []
    for checkpoint in CHECKPOINTS.values():
        alias = next(name for name, alias in ALIASES.items() if alias.published == checkpoint.name)
        try:
            zipped = find(checkpoint)
        except Refusal as refusal:
            zipped, problem = None, str(refusal)
        else:
            problem = "not here; heartlens checkpoints fetch " + checkpoint.name
        kept = kept_path(checkpoint)
        place = str(zipped or (kept if kept.is_file() else problem))
        rows.append((checkpoint.name, alias, checkpoint.kind, checkpoint.task or "next token", place))
    for alias, each in ALIASES.items():
        path, of = embedded_path(each.embedded), CHECKPOINTS[each.published]
        place = "comes with the package" if path.is_file() else "not built; make embedded"
        rows.append((each.embedded, f"{alias} (where {each.published} cannot be had)", of.kind, of.task or "next token", place))
    columns = ("name", "alias", "kind", "task", "place")
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    else:
        widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns) - 1)]
        for row in [columns, *rows]:
            print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))
    return DONE


def fetch(names: list[str]) -> int:
    """Have published checkpoints on this machine, their hashes checked; print where each lies. `all` means all of them."""
    from heartlens.checkpoints.fetch import download, find
    from heartlens.checkpoints.registry import CHECKPOINTS, EMBEDDED, published

    for name in CHECKPOINTS if names == ["all"] else names:
        if name in EMBEDDED:
            print(f"{name}: comes with the package")
            continue
        checkpoint = published(name)
        print(f"{checkpoint.name}: {find(checkpoint) or download(checkpoint)}")
    return DONE


def convert(options: argparse.Namespace) -> int:
    """Write a checkpoint in the published layout as safetensors with a model card, or as a HookedTransformer's state dict."""
    from heartlens.checkpoints.card import write_with_card
    from heartlens.checkpoints.read import write_state
    from heartlens.converters.hooked import hooked_state
    from heartlens.converters.sizes import sizes_of
    from heartlens.models.load import read_with_card

    if options.out is None or options.out.suffix != ".safetensors":
        raise Refusal(f"--out is {options.out}; convert writes a .safetensors file, say --out {Path(options.checkpoint).stem}.safetensors")
    loaded = read_with_card(options.checkpoint, published_only=options.published_only)
    if options.out.exists() and not options.overwrite:
        raise Refusal(f"{options.out} exists; give another --out, or --overwrite")
    origin = loaded.origin
    try:
        if options.to == "hooked":
            write_state(hooked_state(loaded.state, sizes_of(loaded.state)), options.out, {"of": origin.fingerprint})
        elif origin.kind is None:
            raise Refusal(f"{origin.checkpoint}: neither vocabulary nor model card tells ECG from PPG (docs/adding_a_checkpoint.md)")
        else:
            own = {"name": origin.checkpoint, "kind": origin.kind, "task": origin.task, "threshold": None}
            own |= {"licence": origin.licence, "citation": origin.citation, "fingerprint": origin.fingerprint}
            write_with_card(loaded.state, options.out, own | loaded.card)
    except OSError as error:
        raise Refusal(f"{options.out} cannot be written ({error.strerror or error}); name another file with --out") from error
    print(f"{origin.checkpoint}, weights SHA-256 {origin.fingerprint}")
    print(f"written: {options.out}", file=sys.stderr)
    return DONE


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
    parser = Parser(prog="heartlens checkpoints", description=__doc__, allow_abbrev=False, formatter_class=_Raw)
    parser.add_argument("command", choices=("list", "fetch", "verify", "convert"), help="what to do")
    parser.add_argument("checkpoint", nargs="*", default=[], help="a name or alias, or a path to one's own file; fetch: names, or all")
    parser.add_argument("--published-only", action="store_true", help="refuse the embedded model that an alias else falls back to")
    parser.add_argument("--out", type=path_given, help="the file of verify (default: out/parity/NAME.json) or of convert")
    parser.add_argument("--to", choices=("original", "hooked"), default="original", help="convert: published names, or TransformerLens'")
    parser.add_argument("--overwrite", action="store_true", help="convert: replace the file")
    parser.add_argument("--seed", type=_seed, default=0, help="verify: seed of the windows, from 0 (default: 0)")
    parser.add_argument("--json", action="store_true", help="list: as JSON")
    add_offline(parser)
    return parser


_Raw = argparse.RawDescriptionHelpFormatter


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


if __name__ == "__main__":
    leave(main)
