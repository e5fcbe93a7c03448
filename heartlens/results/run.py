"""Run an options file: the command that it names, with its options. Every report writes the one that remakes it (options.toml).

`heartlens run out/X/options.toml --in recordings/ --out out/Y`. The options of the file are those of the command line (docs/results.md);
what stands after the file's name is added to them. A file of another version, and an option that the command does not have, are refused.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heartlens.exits import exit_code
from heartlens.file_key import split_key
from heartlens.options_file import commands_in
from heartlens.parser import Parser, path_given
from heartlens.refusal import Refusal

OUT, REMADE = "--out", "remade"
NEVER = ("run", "remake")  # commands that run others


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    from heartlens import __version__

    parser = Parser(prog="heartlens run", description=__doc__, allow_abbrev=False, epilog="further options go to the command")
    parser.add_argument("file", type=path_given, metavar="FILE", help="an options file")
    add_folders(parser, "where the result goes (default: as the file says)")
    own, more = _apart(arguments)
    given = parser.strict(own)
    commands = commands_in(given.file, __version__)
    if len(commands) > 1 and more:
        raise Refusal(f"{given.file} holds {len(commands)} commands; further options ({more[0]}) are for a file with one")
    commands = [placed(words, given.out) for words in commands]
    with inside(given.folder):
        for words in commands:
            refuse_absent(words, given.file)
            code = run_words([*words, *more])
            if code:
                return code
    return 0


def add_folders(parser: Parser, out_help: str) -> None:
    """Where the recordings are, and where the result goes."""
    parser.add_argument("--in", dest="folder", type=path_given, metavar="FOLDER", help="the folder that holds the recordings")
    parser.add_argument(OUT, type=path_given, metavar="FOLDER", help=out_help)


def run_words(words: list[str]) -> int:
    """The exit code of a command, given as words after `heartlens`. Refuses commands that run others."""
    from heartlens.__main__ import run

    if words[0] in NEVER:
        raise Refusal(f"an options file cannot name the command {words[0]}; name an analysis, a task or a training")
    return run(words)


def placed(words: list[str], out: Path | None) -> list[str]:
    """A command with its result in `out`, and the results that it is added to beside that; without `out` where the command says.

    Where that is a relative path, it is one from the folder that is the working folder now.
    """
    result = []
    for word in words:
        flag, mark, place = word.partition("=")
        if not mark or flag not in (OUT, "--add"):
            result.append(word)
        elif out is None:
            result.append(f"{flag}={Path(place).expanduser().absolute()}")
        else:
            result.append(f"{flag}={out.absolute()}{place.removeprefix(REMADE) if place.startswith(REMADE) else ''}")
    return result if out is None or any(word.startswith(f"{OUT}=") for word in words) else [*result, f"{OUT}={out.absolute()}"]


def refuse_absent(words: list[str], given: Path) -> None:
    """Refuse where files that a command of the result or options file `given` names are not in the working folder."""
    is_file = bool(Path(split_key(words[1])[0]).suffix) if len(words) > 1 else False  # else the name of a checkpoint
    for word in words[1 if is_file else 2 :]:
        if not word.startswith("-") and not set("*?[") & set(word) and not os.path.exists(split_key(word)[0]):
            raise Refusal(f"{word}, which {given} names, is not in {Path.cwd()}; --in names the folder that holds its recordings")


@contextmanager
def inside(folder: Path | None) -> Iterator[None]:
    """Within it the working folder is `folder`, where one is given. Refuses one that is not there."""
    if folder is None:
        yield
        return
    if not folder.is_dir():
        raise Refusal(f"--in {folder}: no such folder; name the one that holds the recordings")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _apart(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments of `run` itself, and those for the command."""
    own, more = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False), list[str]()
    own.add_argument("--in")
    own.add_argument(OUT)
    if not arguments or arguments[0].startswith("-"):
        return arguments, more
    try:
        known, more = own.parse_known_args(arguments[1:])
    except argparse.ArgumentError as error:
        raise Refusal(str(error)) from error
    values = {"--in": getattr(known, "in"), OUT: known.out}
    return [arguments[0], *(f"{flag}={value}" for flag, value in values.items() if value is not None)], more
