"""Put every verdict rule on trial (`make calibrate`), on models that learnt nothing: docs/calibration.md and calibration.json.

What was measured is kept, so a trial that was stopped goes on, and one with a changed rule measures nothing again.
"""

import os
import sys
from pathlib import Path

from heartlens.exits import DONE, exit_code, leave
from heartlens.parser import Listed, Parser
from heartlens.refusal import Refusal, unknown


def main(arguments: list[str] | None = None) -> int:
    """Run the trial; the exit code."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str] | None) -> int:
    from heartlens.cache import cache_folder
    from heartlens.trial import simulations
    from heartlens.trial.published import DECIDES_NOTHING, Corpus, Sizes, analyses, published, write

    parser = Parser(prog="heartlens calibrate", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "checkpoint",
        nargs="?",
        default="ecg",
        help="whose weights are shuffled, and whose AF model is judged where a task head is needed (default: ecg)",
    )
    only = "only these, with commas between (default: all); the others' published rates stay"
    parser.add_argument("--analyses", type=Listed(), metavar="NAME,...", help=only)
    parser.add_argument("--models", type=int, default=200, metavar="N", help="shuffled models that are judged (default: 200)")
    parser.add_argument(
        "--other-models", type=int, default=20, metavar="N", help="judged of each other kind that learnt nothing (default: 20)"
    )
    parser.add_argument("--null-sets", type=int, default=5, metavar="N", help="disjoint sets of twins (default: 5)")
    parser.add_argument("--power-models", type=int, default=60, metavar="N", help="models that each effect is put into (default: 60)")
    parser.add_argument("--studies", type=int, default=200, metavar="N", help="simulated studies of each null and effect (default: 200)")
    parser.add_argument("--people", dest="persons", type=int, default=25, metavar="N", help="simulated persons (default: 25)")
    parser.add_argument("--windows", type=int, default=1, metavar="N", help="windows of each person (default: 1)")
    parser.add_argument("--pool", type=Path, metavar="FOLDER", help="where tallies are kept (default: in the user's cache)")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="FOLDER", help="where the tables go (default: docs)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="measure and judge on N processes (default: 1)")
    parser.add_argument("--simulations", action="store_true", help="only the parts that need no model")
    options = parser.strict(arguments)
    for name in ("models", "other_models", "null_sets", "power_models", "studies", "persons", "windows", "processes"):
        least = 0 if name in ("other_models", "power_models") else 1
        if getattr(options, name) < least:
            option = {"persons": "people"}.get(name, name.replace("_", "-"))
            raise Refusal(f"--{option} is {getattr(options, name)}; legal: {least} or more")

    if options.simulations and options.analyses:
        raise Refusal("--simulations and --analyses exclude each other: simulations are of no analysis; give one of them")
    tried = {name: analysis for name, analysis in analyses().items() if name not in DECIDES_NOTHING}
    for name in options.analyses or []:
        if name not in tried:
            raise unknown("analysis", name, list(tried))
    sizes = Sizes(options.models, options.other_models, options.null_sets, options.power_models, options.studies)
    corpus = Corpus(options.persons, options.windows)
    pool = options.pool or cache_folder() / "calibration"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = [] if options.simulations else options.analyses or list(tried)
    for name in chosen:
        write(published(tried[name](), options.checkpoint, corpus, sizes, pool, _say, options.processes), options.out)
    if not options.analyses:
        write(simulations.simulated_rows(), options.out)
    print(f"written: {options.out / 'calibration.md'}, {options.out / 'calibration.json'}")
    return DONE


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    leave(main)
