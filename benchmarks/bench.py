"""How fast, how small, how exact: one table, every ratio taken within one run, the machine named.

`python benchmarks/bench.py [--quick] [--only NAME ...]` (`make bench`). Needs the published ECG checkpoints, whose targets these are. Without
them the small models that come with the package answer, the first lines say so, and the column of targets stays empty.
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
    print("\n".join(machine()))
    print(f"{setting.model.origin.checkpoint}{' (quick)' if setting.is_quick else ''}")
    if not setting.is_published:
        print("The published checkpoint is not here: the targets are not those of this model, and are left out.")
    print(f"\n{table.head()}")
    for name in options.only:
        for row in SECTIONS[name](setting):
            print(table.line(row if setting.is_published else replace(row, target="")), flush=True)


if __name__ == "__main__":
    main()
