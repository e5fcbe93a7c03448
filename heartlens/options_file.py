"""An options file: a command as TOML, which `heartlens run FILE` runs. Every report writes the one that remakes it.

    heartlens = "0.1.0"          # the version it is for; another one refuses it
    command = "head_scan"
    checkpoint = "ecgpt-560k"    # pretrain has `kind` in its place
    data = ["ludb/1.hea"]        # recordings, from the folder that holds them
    lead = "V5"                  # further options as on the command line: true for one without a value
    n-twins = 119

A result that others were added to has several: tables [[run]], in order.
"""

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

from heartlens.refusal import Refusal, one_line

VERSION, COMMAND, RUN, DATA = "heartlens", "command", "run", "data"
FIRST = {"pretrain": "kind", "paper": DATA}  # what the first positional argument of a command is; else a checkpoint
POSITIONAL = ("kind", "checkpoint")
AND = "&&"
LARGEST = 2**22  # bytes
OPTIONS = "options.toml"  # the one of a result
Run = dict[str, Any]


def options_file(command: str, version: str) -> str:
    """The text of the options file of a command, or of several with && between."""
    runs = [_run_of(words) for words in _commands(command)]
    lines = ["# `heartlens run` with this file makes the result again, in the folder that holds the recordings.", _line(VERSION, version)]
    for run in runs:
        lines += ["", f"[[{RUN}]]"] if len(runs) > 1 else []
        lines += [_line(name, value) for name, value in run.items()]
    return "\n".join(lines) + "\n"


def words_of(command: str) -> list[list[str]]:
    """A command, or several with && between, as a list of the words after `heartlens` for each."""
    return [_words_of(_run_of(words), Path("the command")) for words in _commands(command)]


def commands_in(path: Path, version: str) -> list[list[str]]:
    """The same of the commands that an options file names. Refuses a file of another version, and what is no options file."""
    try:
        if path.stat().st_size > LARGEST:
            raise Refusal(f"{path} is larger than {LARGEST >> 20} MiB; that is no options file")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror or error}; give an options file (docs/results.md)") from error
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path} is no options file: {one_line(str(error))}") from error
    given = content.pop(VERSION, None)
    if given != version:
        told = f"of heartlens {given}" if given is not None else 'without the line heartlens = "VERSION"'
        raise Refusal(f'{path} is {told}, this is {version}; numbers may differ: write heartlens = "{version}" to run it all the same')
    runs = content.get(RUN, [content])
    if not (isinstance(runs, list) and runs and all(isinstance(run, dict) for run in runs)) or (RUN in content and len(content) > 1):
        raise Refusal(f"{path}: legal are either options, or tables [[{RUN}]] of them")
    return [_words_of(run, path) for run in runs]


def _commands(command: str) -> list[list[str]]:
    """The commands as words, each without the program before its name."""
    commands, words = list[list[str]](), list[str]()
    for word in [*shlex.split(command), AND]:
        if word == AND:
            commands.append(words)
            words = []
        else:
            words.append(word)
    return [_after_program(words) for words in commands]


def _after_program(words: list[str]) -> list[str]:
    if words[:2] == ["python", "-m"] and len(words) > 2:
        return [words[2].rsplit(".", 1)[-1], *words[3:]]
    return words[1:] if words[:1] == ["heartlens"] else words


def _run_of(words: list[str]) -> Run:
    """A command as options, in the order in which it names them: positional arguments first, as `remake.command_of` writes them."""
    name, *rest = words
    first_option = next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))
    positional, rest = rest[:first_option], rest[first_option:]
    run: Run = {COMMAND: name}
    if positional and FIRST.get(name) != DATA:
        run[FIRST.get(name, "checkpoint")] = positional.pop(0)
    if positional:
        run[DATA] = positional
    while rest:
        flag, mark, value = rest.pop(0).partition("=")
        values = [value] if mark else []
        while not mark and rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        run[flag.removeprefix("--")] = True if not values else _typed(values[0]) if len(values) == 1 else values
    return run


def _typed(text: str) -> Any:
    """A number where that is written as the text is, else the text."""
    for kind in (int, float):
        try:
            if str(kind(text)) == text and text not in ("nan", "inf", "-inf"):
                return kind(text)
        except ValueError:
            continue
    return text


def _line(name: str, value: Any) -> str:
    """A line of TOML; of text JSON's quotation is TOML's."""
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"


def _words_of(run: Run, path: Path) -> list[str]:
    """The words of a command line."""
    run = dict(run)
    name = run.pop(COMMAND, None)
    if not isinstance(name, str):
        raise Refusal(f"{path} names no command; write command = NAME, say command = 'head_scan'")
    words = [name, *(str(run.pop(key)) for key in POSITIONAL if key in run)]
    data = run.pop(DATA, [])
    words += [_positional(each, path) for each in (data if isinstance(data, list) else [data])]
    for key, value in run.items():
        flag = f"--{key}"
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, list | dict) for each in value)):
            raise Refusal(f"{path}: {key} is a table; legal: text, a number, true, or a list of them")
        if isinstance(value, bool):
            words += [flag] if value else []
        else:
            words.append(f"{flag}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return words


def _positional(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise Refusal(f"{path}: {DATA} holds {value!r}; legal: names of files, folders or patterns")
    return f"./{value}" if value.startswith("-") else value
