"""The command line of every analysis: one parser, read off the fields of its dataclass.

Data and findings go to stdout, everything else to stderr. Nothing is written before all is computed.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from heartlens.exits import DONE, NOTHING, PARTIAL, exit_code, keeping, leave
from heartlens.findings import as_json, with_edits
from heartlens.folder import Folder
from heartlens.options import options_of
from heartlens.parser import (
    Listed,
    Parser,
    add_ablate,
    add_checkpoint,
    add_device,
    add_engine,
    add_format,
    add_json,
    add_offline,
    add_options,
    add_paths,
    add_persons,
    add_quiet,
    path_given,
)
from heartlens.refusal import Refusal
from heartlens.signals.hints import add_hints
from heartlens.signals.simulate.rhythms import RHYTHMS
from heartlens.store import PARTIAL_TALLY

MOST_WORKERS = 256
OWN = r"tally\.partial\.nc"  # what a run keeps in its folder on its way


def main(module: str) -> NoReturn:
    """Run the analysis of `module` (its class has the module's name in CamelCase) and leave with its exit code."""
    leave(lambda: run_command(module, sys.argv[1:]))


def run_command(module: str, arguments: list[str]) -> int:
    """The exit code of the analysis' command line with `arguments`."""
    return exit_code(lambda: _run(_analysis_of(module), parser_of(module).strict(arguments)))


def _analysis_of(module: str) -> type:
    name = "".join(part.capitalize() for part in module.rsplit(".", 1)[-1].split("_"))
    analysis = getattr(importlib.import_module(module), name, None)
    if analysis is None:
        raise Refusal(f"{module} has no class {name}; an analysis is called as its package, in CamelCase")
    return analysis


def parser_of(module: str) -> Parser:
    """What reads the command line of an analysis."""
    from heartlens import __version__

    analysis = _analysis_of(module)
    about = importlib.import_module(module).__doc__ or ""
    is_own = module.startswith("heartlens.analyses.")
    program = f"heartlens {module.rsplit('.', 1)[-1]}" if is_own else f"python -m {module}"
    parser = Parser(prog=program, description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_checkpoint(parser, "a name or alias (ecg, ppg, ecg-af, ...), or one's own .pth, .zip or .safetensors (file.pth#key)")
    parser.add_argument("--version", action="version", version=f"heartlens {__version__}")
    _add_data(parser, parser.add_argument_group("recordings (simulated ones where none are given)"))
    _add_output(parser.add_argument_group("output and machine"))
    _add_scale(parser.add_argument_group("long runs, and several processes or machines (docs/scale.md)"))
    options = parser.add_argument_group("options of the analysis")
    add_options(options, analysis)
    return parser


def _add_data(parser: Parser, group: Any) -> None:
    add_paths(parser, group)
    add_hints(group)
    group.add_argument("--landmarks", default="auto", help="auto (an expert's where the file has them), expert or detected")
    group.add_argument("--bandpass", action="store_true", help="filter to the paper's band (ECG 1-45 Hz, PPG 1-15 Hz) first")
    group.add_argument("--max-windows", type=int, metavar="N", help="at most N windows of each recording, evenly spread")
    add_persons(group)
    rhythms = "instead of recordings, with commas between: sinus (default), af, ectopy"
    group.add_argument("--simulate", type=Listed(choices=tuple(RHYTHMS)), metavar="RHYTHM,...", help=rhythms)
    group.add_argument("--strict", action="store_true", help="stop at the first recording that cannot be used, instead of leaving it out")
    group.add_argument("--force", action="store_true", help="run a model on the other kind of signal all the same")


def _add_output(group: Any) -> None:
    group.add_argument("--out", type=path_given, metavar="FOLDER", help="where the results go (default: out/ANALYSIS-CHECKPOINT)")
    add_format(group)
    group.add_argument("--add", type=path_given, metavar="TALLY", help="a stored tally.nc that the new recordings are added to")
    group.add_argument("--overwrite", action="store_true", help="replace results in the output folder")
    add_json(group)
    add_device(group)
    add_engine(group)
    add_ablate(group)
    add_offline(group)
    add_quiet(group)


def _add_scale(group: Any) -> None:
    group.add_argument("--resume", action="store_true", help="go on with what an earlier run into the same folder saved")
    between = "minutes between two saves of what was measured (default: 3)"
    group.add_argument("--save-every", type=float, default=3.0, metavar="MINUTES", help=between)
    group.add_argument("--shard", metavar="I/N", help="measure part I of N of the recordings; heartlens merge joins all N")
    group.add_argument("--workers", type=int, default=0, metavar="N", help="measure on N processes (needs heartlens[dask])")
    group.add_argument("--dask", metavar="ADDRESS", help="measure on a Dask cluster: its address, or its scheduler file (heartlens[dask])")


def _run(analysis_class: type, options: argparse.Namespace) -> int:
    analysis = analysis_class(**{option.name: getattr(options, option.name) for option in options_of(analysis_class)})
    out = options.out or Path("out") / _folder_name(analysis_class, options)
    if options.workers < 0 or not options.save_every >= 0:
        raise Refusal(f"--workers is {options.workers}, --save-every {options.save_every:g}; both must be 0 or more")
    if options.workers > MOST_WORKERS:
        raise Refusal(f"--workers is {options.workers}; at most {MOST_WORKERS} processes are started on one machine")
    with Folder(out, OWN) as folder:
        refuse_existing(folder, overwrite=options.overwrite, resume=options.resume)
        from heartlens import session

        made = session.measure(analysis, options, folder)
        if isinstance(made, session.MadeShard):
            return _told_of_shard(made, session.write_shard(made, folder), options)
        with keeping(lambda: _kept(folder)):
            return report_findings(analysis, made, session.write(analysis, made, folder, options.format), options)


def _kept(folder: Folder) -> str:
    """What an interruption leaves while a result is being written."""
    if folder.is_given:
        return f"{folder.path} holds the whole result"
    partial = folder.path / PARTIAL_TALLY
    return f"what was saved last is kept in {partial}; --resume goes on with it" if partial.exists() else NOTHING


def report_findings(analysis: Any, made: Any, written: list[Path], options: argparse.Namespace) -> int:
    """Print the findings, and what was written; the exit code."""
    findings = with_edits(analysis.findings(made.summary), made.summary.attrs)
    print(json.dumps(as_json(findings, made.summary.attrs, written), indent=1) if options.json else "\n".join(findings.verdict))
    if not options.quiet:
        print("written: " + ", ".join(map(str, written)), file=sys.stderr)
    return PARTIAL if made.lost_records else DONE


def _told_of_shard(made: Any, written: list[Path], options: argparse.Namespace) -> int:
    counts = {"n_recordings": made.total.n_recordings, "n_windows": made.total.read.n_windows}
    plain = {"shard": made.attrs["shard"], **counts, "files": [str(path) for path in written]}
    text = f"shard {plain['shard']}: {counts['n_windows']} windows of {counts['n_recordings']} recordings in {written[0]}"
    print(json.dumps(plain, indent=1) if options.json else text)
    return PARTIAL if made.total.n_lost else DONE


def _folder_name(analysis_class: type, options: argparse.Namespace) -> str:
    shard = f"-shard-{options.shard.replace('/', '-of-')}" if options.shard else ""
    return f"{analysis_class.__module__.rsplit('.', 1)[-1]}-{Path(options.checkpoint).stem}{shard}"


def refuse_existing(folder: Folder, *, overwrite: bool, resume: bool = False) -> None:
    """Refuse a folder that holds a result, what a stopped run has saved, or what this program did not write."""
    out = folder.path
    if not overwrite and (folder.is_result or (out / "summary.nc").exists() or (out / "tally.nc").exists()):
        raise Refusal(f"{out} holds a result; give another --out, or --overwrite")
    folder.refuse_foreign()
    if not (overwrite or resume) and (out / PARTIAL_TALLY).exists():
        raise Refusal(f"{out / PARTIAL_TALLY} is what a stopped run has saved; --resume goes on with it, --overwrite starts anew")
