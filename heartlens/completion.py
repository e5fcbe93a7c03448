"""Completion of commands and options for a shell: `heartlens completion bash` (zsh, fish) prints the script that the shell reads.

For bash: `heartlens completion bash > ~/.local/share/bash-completion/completions/heartlens`. For zsh: a file `_heartlens` in a folder of
$fpath. For fish: `heartlens completion fish > ~/.config/fish/completions/heartlens.fish`. The script is made once and asks no Python later.
"""

import argparse

from heartlens.exits import DONE, exit_code
from heartlens.parser import Parser, parser_behind

SHELLS = ("bash", "zsh", "fish")
FILES = ("data", "result", "shards", "file", "labels", "persons", "out", "add", "style")  # what is a path


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens completion", description=__doc__, allow_abbrev=False)
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    shell = parser.strict(arguments).shell
    import shtab

    print(shtab.complete(whole_parser(), shell=shell))
    return DONE


def whole_parser() -> argparse.ArgumentParser:
    """One parser with every command, its first line of help and its options. Imports all commands."""
    import shtab

    from heartlens.__main__ import command, names

    whole = argparse.ArgumentParser(prog="heartlens", description="the models at work, analyses, training and stored results")
    whole.add_argument("--version", action="store_true", help="the version")
    commands = whole.add_subparsers(dest="command")
    for name in names():
        run = command(name)
        own = parser_behind(lambda run=run: run([]))  # type: ignore[misc]
        for action in own._actions:
            if action.dest in FILES:
                action.complete = dict(shtab.FILE)  # type: ignore[attr-defined]
        about = (own.description or "").splitlines()[0].replace("`", "'")
        commands.add_parser(name, parents=[own], add_help=False, help=about, prog=f"heartlens {name}", conflict_handler="resolve")
    return whole
