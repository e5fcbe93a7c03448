"""The command line of every analysis: one parser, read off the fields of its dataclass.

Data and findings go to stdout, everything else to stderr. Nothing is written before all is computed.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from heartlens.exits import DONE, PARTIAL, exit_code
from heartlens.options import ENGINES, options_of
from heartlens.parser import Parser, add_options
from heartlens.refusal import Refusal
from heartlens.signals.simulate.rhythms import RHYTHMS

FORMATS = ("pdf", "svg", "png")


def main(module: str) -> NoReturn:
    """Run the analysis of `module` (its class has the module's name in CamelCase) and leave with its exit code."""
    sys.exit(run_command(module, sys.argv[1:]))


def run_command(module: str, arguments: list[str]) -> int:
    """The exit code of the analysis' command line with `arguments`."""
    return exit_code(lambda: _run(_analysis_of(module), _parse(module, arguments)))


def _analysis_of(module: str) -> type:
    name = "".join(part.capitalize() for part in module.rsplit(".", 1)[-1].split("_"))
    return getattr(importlib.import_module(module), name)


def _parse(module: str, arguments: list[str]) -> argparse.Namespace:
    from heartlens import __version__

    analysis = _analysis_of(module)
    about = importlib.import_module(module).__doc__ or ""
    parser = Parser(prog=f"python -m {module}", description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a name or alias (ecg, ppg, ecg-af, ...), or one's own .pth, .zip or .safetensors")
    parser.add_argument("--published-only", action="store_true", help="refuse the embedded model that an alias else falls back to")
    parser.add_argument("--version", action="version", version=f"heartlens {__version__}")
    _add_data(parser.add_argument_group("recordings (simulated ones where no --data is given)"))
    _add_output(parser.add_argument_group("output and machine"))
    options = parser.add_argument_group("options of the analysis")
    add_options(options, analysis)
    return parser.strict(arguments)


def _add_data(group: Any) -> None:
    group.add_argument("--data", nargs="+", action="extend", metavar="PATH", help="files, folders or patterns, any number")
    group.add_argument("--lead", help="the lead or column to read")
    group.add_argument("--rate", type=float, metavar="HZ", help="sampling rate, where the file does not say")
    group.add_argument("--landmarks", default="auto", help="auto (an expert's where the file has them), expert or detected")
    group.add_argument("--bandpass", action="store_true", help="filter to the paper's band (ECG 1-45 Hz, PPG 1-15 Hz) first")
    group.add_argument("--max-windows", type=int, metavar="N", help="at most N windows of each record, evenly spread")
    group.add_argument("--simulate", nargs="+", metavar="RHYTHM", choices=RHYTHMS, help="instead of --data: sinus (default), af, ectopy")
    group.add_argument("--force", action="store_true", help="run a model on the other kind of signal all the same")


def _add_output(group: Any) -> None:
    group.add_argument("--out", type=Path, metavar="FOLDER", help="where the results go (default: out/ANALYSIS-CHECKPOINT)")
    group.add_argument("--format", nargs="+", default=["pdf", "png"], choices=FORMATS, help="formats of the figure")
    group.add_argument("--add", type=Path, metavar="TALLY", help="a stored tally.nc that the new recordings are added to")
    group.add_argument("--overwrite", action="store_true", help="replace results in the output folder")
    group.add_argument("--json", action="store_true", help="print the findings as JSON")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto takes a CUDA device where there is one")
    group.add_argument("--engine", default="auto", choices=ENGINES, help="what runs the model: auto takes the fastest that is exact for it")
    group.add_argument("--offline", action="store_true", help="download nothing")
    group.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors, and which model stands in for an alias")


def _run(analysis_class: type, options: argparse.Namespace) -> int:
    analysis = analysis_class(**{option.name: getattr(options, option.name) for option in options_of(analysis_class)})
    if options.offline:
        os.environ["HEARTLENS_OFFLINE"] = "1"
    out = options.out or Path("out") / f"{analysis_class.__module__.rsplit('.', 1)[-1]}-{Path(options.checkpoint).stem}"
    _refuse_existing(out, options)
    from heartlens import session

    made = session.measure(analysis, options)
    written = session.write(analysis, made, out, options.format)
    findings = analysis.findings(made.summary)
    print(json.dumps(session.as_json(findings, made.summary, written), indent=1) if options.json else "\n".join(findings.verdict))
    if not options.quiet:
        print("written: " + ", ".join(map(str, written)), file=sys.stderr)
    return PARTIAL if made.lost_records else DONE


def _refuse_existing(out: Path, options: argparse.Namespace) -> None:
    if out.exists() and not out.is_dir():
        raise Refusal(f"{out} is a file; --out names a folder")
    if not options.overwrite and (out / "summary.nc").exists():
        raise Refusal(f"{out} holds a result; give another --out, or --overwrite")
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise Refusal(f"{out} cannot be written; name another folder with --out")
