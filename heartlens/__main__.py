"""`heartlens NAME ...` (`python -m heartlens`): every task, analysis and further command by its name; without one, the list of them."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

from heartlens.exits import DONE, exit_code, open_streams
from heartlens.refusal import unknown

FOLDER = Path(__file__).parent
TASKS = {
    name: f"heartlens.tasks.{name}:run_command"
    for name in ("classify", "estimate", "beats", "generate", "attention", "similarity", "tokenize", "what_if")
}
TRAINING = {
    "finetune": "heartlens.training.finetune_command:run_finetune",
    "pretrain": "heartlens.training.command:run_pretrain",
}
RESULTS = {name: f"heartlens.results.{name}:run_command" for name in ("table", "redraw", "remake", "compare", "run")} | {
    "methods": "heartlens.methods:run_command",
    "merge": "heartlens.merge:run_command",
}
FURTHER = {
    "live": "heartlens.app.live.command:run_command",
    "app": "heartlens.app:run_command",
    "checkpoints": "heartlens.converters.__main__:main",
    "paper": "heartlens.paper.__main__:run_command",
    "calibrate": "heartlens.trial.__main__:main",
    "completion": "heartlens.completion:run_command",
}
HIDDEN = {"verify": "heartlens.converters.__main__:main_verify"}  # an older name of `checkpoints verify`


def main() -> None:
    """Run the command of the command line and leave with its exit code."""
    open_streams()
    sys.exit(exit_code(lambda: run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """The exit code of the command that the first argument names, with the others."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_listed())
        return DONE
    if arguments[0] == "--version":
        from heartlens import __version__

        print(f"heartlens {__version__}")
        return DONE
    name, *rest = arguments
    if name not in names() and name not in HIDDEN:
        raise unknown("command", name, names())
    return command(name)(rest)


def names() -> list[str]:
    """The names of all commands."""
    return [*TASKS, *analyses(), *TRAINING, *RESULTS, *FURTHER]


def command(name: str) -> Callable[[list[str]], int]:
    """What gives the exit code of the command of this name for a list of arguments. Imports it."""
    if name in analyses():
        from heartlens.cli import run_command

        return lambda arguments: run_command(f"heartlens.analyses.{name}", arguments)
    module, function = (TASKS | TRAINING | RESULTS | FURTHER | HIDDEN)[name].split(":")
    of_module = getattr(importlib.import_module(module), function)
    return lambda arguments: int(of_module(arguments))


def analyses() -> list[str]:
    """The names of the analyses. Imports none of them."""
    return [module.name for module in pkgutil.iter_modules([str(FOLDER / "analyses")]) if module.ispkg]


def _listed() -> str:
    lines = [__doc__.splitlines()[0], "Not a medical device.", ""]
    for title, modules in (
        ("the models at work", TASKS),
        ("analyses", {name: f"heartlens.analyses.{name}" for name in analyses()}),
        ("training", {name: f"heartlens.training.{name}" for name in TRAINING}),
        ("stored results", RESULTS),
        ("further", FURTHER),
    ):
        lines += [f"{title}:", *(f"  {name:18} {about(module)}" for name, module in modules.items()), ""]
    return "\n".join([*lines, "heartlens NAME --help tells the options of each."])


def about(module: str) -> str:
    """The first line of a module's docstring, read without importing it."""
    path = FOLDER.joinpath(*module.split(":")[0].split(".")[1:])
    files = (path / "__init__.py", path / "__main__.py") if path.is_dir() else (path.with_suffix(".py"),)
    text = next(filter(None, (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in files)))
    return text.splitlines()[0]


if __name__ == "__main__":
    main()
