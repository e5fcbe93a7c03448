"""How fast, how small, how exact: one table, every ratio taken within one run, the machine named.

`python benchmarks/bench.py [--quick] [--only NAME ...]` (`make bench`). The targets are those of the published ECG checkpoints. Where these
are not at hand, the small models that come with the package answer, and the first lines say so.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import ablation
import forward
import generation
import patching
import processes
import table
from setting import Setting, machine

SECTIONS: dict[str, Callable[[Setting], Iterator[table.Row]]] = {
    "forward": forward.rows,
    "cores": forward.on_cores,
    "ablation": ablation.rows,
    "patching": patching.rows,
    "generation": generation.rows,
    "start": processes.starting,
    "memory": processes.memory,
    "files": processes.files,
}


def main() -> None:
    """Print the table, each row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewest windows, one round: shows that all of it runs; the numbers mean little"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME", help=f"of {', '.join(SECTIONS)}")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    setting = Setting(options.quick)
    print("\n".join([*machine(), f"model: {setting.model.origin.checkpoint}"]))
    why_no_targets = _why_no_targets(setting)
    if why_no_targets:
        print(f"no targets are shown: {why_no_targets}")
    print(f"\n{table.head()}")
    for name in options.only:
        for row in SECTIONS[name](setting):
            print(table.line(replace(row, target="") if why_no_targets else row), flush=True)


def _why_no_targets(setting: Setting) -> str:
    """Why the numbers cannot be held against the targets; empty where they can."""
    if not setting.is_published:
        return "they are of the published checkpoint, which is not here"
    return "--quick measures too little" if setting.is_quick else ""


if __name__ == "__main__":
    main()
