"""`python -m heartlens.analyses NAME CHECKPOINT ...`: the command of any analysis, also of one without a `__main__.py`."""

import importlib
import pkgutil
import sys

from heartlens.cli import run_command
from heartlens.exits import exit_code, leave
from heartlens.refusal import unknown


def main(arguments: list[str]) -> int:
    """The exit code of the analysis that the first argument names, with the others."""
    return exit_code(lambda: run_command(f"heartlens.analyses.{_named(arguments[:1])}", arguments[1:]))


def _named(given: list[str]) -> str:
    names = [module.name for module in pkgutil.iter_modules(importlib.import_module("heartlens.analyses").__path__) if module.ispkg]
    if not given or given[0] not in names:
        raise unknown("analysis", given[0] if given else "", names)
    return given[0]


if __name__ == "__main__":
    leave(lambda: main(sys.argv[1:]))
