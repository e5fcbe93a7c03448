"""`heartlens NAME ...` (`python -m heartlens`): every task, analysis and further command by its name; without one, the list of them."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

from heartlens.exits import DONE, exit_code
from heartlens.refusal import unknown

FOLDER = Path(__file__).parent
TASKS = {name: f"heartlens.tasks.{name}:run_command" for name in ("classify", "beats", "generate")}
FURTHER = {
    "finetune": "heartlens.training.finetune_command:run_finetune",
    "pretrain": "heartlens.training.command:run_pretrain",
    "merge": "heartlens.merge:run_command",
    "methods": "heartlens.methods:run_command",
    "paper": "heartlens.paper.__main__:run_command",
    "calibrate": "heartlens.trial.__main__:main",
    "verify": "heartlens.converters.__main__:main",
}


def main() -> None:
    """Run the command of the command line and leave with its exit code."""
    sys.exit(exit_code(lambda: _run(sys.argv[1:])))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_listed())
        return DONE
    if arguments[0] == "--version":
        from heartlens import __version__

        print(f"heartlens {__version__}")
        return DONE
    name, *rest = arguments
    commands = TASKS | dict.fromkeys(analyses(), "heartlens.analyses.__main__:main") | FURTHER
    if name not in commands:
        raise unknown("command", name, list(commands))
    module, function = commands[name].split(":")
    return int(getattr(importlib.import_module(module), function)([name, *rest] if name in analyses() else rest))


def analyses() -> list[str]:
    """The names of the analyses. Imports none of them."""
    return [module.name for module in pkgutil.iter_modules([str(FOLDER / "analyses")]) if module.ispkg]


def _listed() -> str:
    lines = [__doc__.splitlines()[0], "Not a medical device.", ""]
    for title, modules in (
        ("the models at work", TASKS),
        ("analyses", {name: f"heartlens.analyses.{name}" for name in analyses()}),
        ("further", FURTHER),
    ):
        lines += [f"{title}:", *(f"  {name:18} {_first_line(module)}" for name, module in modules.items()), ""]
    return "\n".join([*lines, "heartlens NAME --help tells the options of each."])


def _first_line(module: str) -> str:
    """The first line of a module's docstring, read without importing it."""
    path = FOLDER.joinpath(*module.split(":")[0].split(".")[1:])
    files = (path / "__init__.py", path / "__main__.py") if path.is_dir() else (path.with_suffix(".py"),)
    about = next(filter(None, (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in files)))
    return about.splitlines()[0]


if __name__ == "__main__":
    main()
