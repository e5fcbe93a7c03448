"""The command that remakes a result: stored with it, and run in the folder that holds the recordings, it gives the same numbers.

It names what was used, not what was asked for: the checkpoint that an alias meant, the engine and device that `auto` chose. Paths are
written as seen from the recordings' folder, without the folders above it.
"""

import argparse
import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartlens.cache import cache_folder
from heartlens.file_key import split_key
from heartlens.parser import Listed
from heartlens.whole import write_whole

MOST_PATHS = 1000  # of a command
MOST_NOTES = 500
RECORDINGS, FILES = (
    "data",
    ("persons", "labels", "targets", "compare", "checkpoint", "examples"),
)  # options that name recordings, and single files
ALWAYS = ("seed",)  # options that are written though they have their default
OUT, AND = "remade", " && "
NEVER = ("help", "version", "out", "overwrite", "resume", "quiet", "json", "offline", "format", "add")
NOT_OF_NUMBERS = ("save_every", "workers", "dask", "shard")  # options that change no bit of a result


def command_of(parser: argparse.ArgumentParser, options: argparse.Namespace, used: Mapping[str, str], *, keep_names: bool = False) -> str:
    """The command that `parser` read as `options`, with the values of `used` in the place of those that were asked for."""
    given = getattr(options, RECORDINGS, None) or []
    given = list(map(str, given)) if isinstance(given, list) else [str(given)]
    root = _root_of(given)
    words, places = parser.prog.split(), dict[str, str]()
    positional = {action.dest for action in parser._actions if not action.option_strings}
    for action in parser._actions:
        name = action.dest
        if name in NEVER or name in NOT_OF_NUMBERS or (action.option_strings and name in positional):
            continue
        value = used.get(name, getattr(options, name))
        if name == RECORDINGS and given:
            value = [_seen(root, path, keep_names, is_inside=True) for path in given[:MOST_PATHS]]
        elif name in FILES and value and name not in used:
            paths = list(map(str, value)) if isinstance(value, list) else [str(value)]
            seen = [_seen(root, path, keep_names) for path in paths]
            places |= {name: _whole(path) for name, path in zip(seen, paths, strict=True) if os.path.exists(split_key(path)[0])}
            value = seen if isinstance(value, list) else seen[0]
        if name in used or name in ALWAYS or not action.option_strings or value != action.default:
            words += _words(action, value)
    command = shlex.join([*words, "--out", OUT])
    _remember(command, root, places)
    return command


def places_of(command: str) -> tuple[str, dict[str, str]] | None:
    """Where this user last gave a command its recordings, and its single files by the names that the command gives them.

    None where that is not known: another user's, or another machine's.
    """
    try:
        content = json.loads(_places_file(command).read_text(encoding="utf-8"))
        return str(content["root"]), {str(name): str(path) for name, path in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _remember(command: str, root: str, places: Mapping[str, str]) -> None:
    """Note in the user's cache, and nowhere else, where a command found what it names: a result tells no folders."""
    file = _places_file(command)
    try:
        write_whole(json.dumps({"root": root, "files": dict(places)}).encode(), file, lasting=False)
        notes = sorted(file.parent.glob("*.json"), key=lambda note: note.stat().st_mtime)
        for old in notes[:-MOST_NOTES]:
            old.unlink(missing_ok=True)
    except OSError:  # a cache that cannot be written: `remake` then asks for the folder
        pass


def _places_file(command: str) -> Path:
    return cache_folder() / "places" / f"{hashlib.sha256(command.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"


def added_commands(earlier: str, later: str) -> str:
    """The commands that remake a result that another one was added to."""
    if not earlier or not later:
        return ""
    number = earlier.count(AND) + 1
    before = earlier if number > 1 else f"{earlier}-{number}"
    return f"{before}{AND}{later}-{number + 1} --add {OUT}-{number}/tally.nc"


def _words(action: argparse.Action, value: Any) -> list[str]:
    if value is None or value == []:
        return []
    values = [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]
    if not action.option_strings:
        return [f"./{each}" if each.startswith("-") else each for each in values]
    if isinstance(action.type, Listed):
        values = [",".join(values)]
    flag = action.option_strings[0]
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [f"{flag}={values[0]}"] if len(values) == 1 and values[0].startswith("-") else [flag, *values]


def _root_of(given: list[str]) -> str:
    """The folder that holds all recordings: the one that was given, where it is one."""
    if not given:
        return os.getcwd()
    if len(given) == 1 and os.path.isdir(_whole(given[0])):
        return _whole(given[0])
    return os.path.commonpath([os.path.dirname(_whole(path)) for path in given])


def _seen(root: str, path: str, keep_names: bool, *, is_inside: bool = False) -> str:
    """A path as seen from the recordings' folder, where that tells no other folder's name; else its last part. A name is a name."""
    if not is_inside and not os.path.exists(split_key(path)[0]):
        return path
    if keep_names:
        return _whole(path)
    seen = os.path.relpath(_whole(path), root)
    return seen if not seen.startswith("..") or seen.replace("../", "") == os.path.basename(path) else os.path.basename(path)


def _whole(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
