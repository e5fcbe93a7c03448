"""Which of the paper's claims hold? All of them with figures, nulls and intervals (`heartlens paper FOLDER --out out/paper`).

Measures every claim of "Interpretable Pre-Trained Transformers for Heart Time-Series Data" (arXiv 2407.20775) about attention, homonyms,
single heads and fine-tuning, writes each figure as PDF and PNG, and a self-contained report.html that says what holds and what does not.
Stopped at any point, it goes on where it was. FOLDER holds the sets in folders of their own: ludb, qtdb, cinc2017, bidmc, cinc2015.
"""

import json
import sys
from pathlib import Path
from typing import Any

from heartlens.exits import DONE, exit_code, keeping, leave
from heartlens.folder import Folder
from heartlens.paper.claims import VARIED
from heartlens.paper.data import VARIANTS, Recordings
from heartlens.paper.measure import Bench, bar, measure_all
from heartlens.paper.plan import Job, planned
from heartlens.parser import Parser, add_json, add_offline, add_paths, path_given
from heartlens.refusal import Failure, Refusal
from heartlens.remake import command_of

OWN = r".*"  # every job has a folder of its own, whose marker names its files


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(_parser().strict(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="heartlens paper", description=__doc__, allow_abbrev=False)
    add_paths(parser, parser, "the folder of the sets of recordings (without it: simulated people)")
    parser.add_argument(
        "--examples", type=path_given, metavar="FOLDER", help="the published example inputs (default: beside the checkpoints)"
    )
    parser.add_argument(
        "--out", type=path_given, default=Path("out/paper"), metavar="FOLDER", help="where the report goes (default: out/paper)"
    )
    parser.add_argument("--quick", action="store_true", help="few windows and twins, no variants: a first look in some minutes, no result")
    parser.add_argument("--published-only", action="store_true", help="refuse the embedded models that aliases else fall back to")
    add_json(parser)
    add_offline(parser)
    return parser


def _run(options: Any) -> int:
    from heartlens.paper.report import WRITTEN, plain, sentence, write_report

    if len(options.data or ()) > 1:
        raise Refusal(f"{len(options.data)} folders are given; give the one that holds the sets of recordings")
    folder_of_sets = Path(options.data[0]).expanduser() if options.data else None
    recordings = Recordings(_folder(folder_of_sets), _folder(options.examples) or _examples_found())
    bench = Bench(options.out, recordings, options.published_only, command_of(_parser(), options, {}))
    jobs = [job for job in planned(options.quick) if recordings.has(job.source)]
    if not jobs:
        raise Refusal("no set of recordings was found: " + "; ".join(f"{name}: {why}" for name, why in recordings.lost.items()))
    kept = f"what was measured is kept in {options.out}; the same command goes on with it"
    with Folder(options.out, OWN) as folder, keeping(lambda: kept):
        folder.claim()
        try:
            seconds = dict(measure_all(bench, [*jobs, *([] if options.quick else _varied(jobs))], bar))
            rows = write_report(bench, jobs, folder, is_quick=options.quick)
        except OSError as error:
            raise Failure(f"{options.out} cannot be written ({error.strerror or error}); {kept}") from error
    written = [options.out / name for name in WRITTEN]
    if options.json:
        print(json.dumps({"title": "The paper's claims", "claims": list(map(plain, rows)), "files": list(map(str, written))}, indent=1))
    else:
        print("\n".join(map(sentence, rows)))
    print(f"written: {', '.join(map(str, written))}; measured in {sum(seconds.values()) / 60:.1f} minutes", file=sys.stderr)
    return DONE


def _varied(jobs: list[Job]) -> list[Job]:
    changes = list(VARIANTS)[1:]
    return [job.varied(change) for job in jobs if job.name in VARIED for change in changes]


def _folder(given: Path | None) -> Path | None:
    if given is not None and not given.is_dir():
        raise Refusal(f"no folder {given}")
    return given


def _examples_found() -> Path | None:
    """The published repository keeps Example_inputs beside Model_files, which the search path may name."""
    from heartlens.checkpoints.fetch import search_path

    return next((folder.parent / "Example_inputs" for folder in search_path() if (folder.parent / "Example_inputs").is_dir()), None)


if __name__ == "__main__":
    leave(lambda: run_command(sys.argv[1:]))
