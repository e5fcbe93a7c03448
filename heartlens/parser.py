"""argparse as every command uses it: one syntax for lists and recordings, the same options under the same names, errors in one line.

A list is one value with commas between (`--classes N,A`); spaces between its values do as well, as far as they can be told from
recordings. Recordings are positional, before or after any option. An unknown command, option or choice is answered with the nearest
legal one.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from heartlens.options import ENGINES, FORMATS, options_of
from heartlens.parts import part_named
from heartlens.refusal import Refusal, unknown

LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes
DEVICES = ("auto", "cpu", "cuda")


class OnlyTheParser(Exception):
    """Raised by `Parser.strict` within `parser_behind`, with the parser: its options are asked for, and the command is not run."""

    def __init__(self, parser: "Parser") -> None:
        super().__init__()
        self.parser = parser


@dataclass(frozen=True)
class Listed:
    """What reads values with commas between: each is an `of`, and one of `choices` where there are any."""

    of: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()

    def __call__(self, text: str) -> list[Any]:
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if not word:
                raise argparse.ArgumentTypeError(f"{text!r} has an empty value; give values with commas between")
            if self.choices and word not in self.choices:
                raise argparse.ArgumentTypeError(str(unknown("value", word, self.choices)))
        try:
            return [self.of(word) for word in words]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}; give values of type {self.of.__name__} with commas between") from None

    def goes_on(self, before: str, word: str) -> bool:
        """Whether a word after `before` is one more value, and no option and no recording."""
        if self.choices:
            return word in self.choices
        if self.of is not str:
            return _is(self.of, word)
        return not ("," in before or word.startswith("-") or os.sep in word or set("*?[") & set(word) or os.path.exists(word))


class Parser(argparse.ArgumentParser):
    """argparse, with errors as one-line refusals that name the nearest legal option."""

    is_only_asked: bool = False  # within `parser_behind`

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message}; see --help")

    def strict(self, arguments: list[str] | None) -> argparse.Namespace:
        """The parsed arguments (the process' own where None), unknown ones refused."""
        import sys

        if Parser.is_only_asked:
            raise OnlyTheParser(self)
        options, left_over = self.parse_known_intermixed_args(self._joined(sys.argv[1:] if arguments is None else arguments))
        if left_over:
            legal = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            raise unknown("option" if left_over[0].startswith("-") else "argument", left_over[0].split("=")[0], legal)
        return options

    def _joined(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with the values of each list in one of them."""
        lists = {flag: action.type for action in self._actions for flag in action.option_strings if isinstance(action.type, Listed)}
        joined, rest = list[str](), list(arguments)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*joined, word, *rest]
            kind = lists.get(word)
            if kind is None or not rest or (rest[0].startswith("-") and not _is(float, rest[0].split(",")[0])):
                joined.append(word)
                continue
            values = [rest.pop(0)]
            while rest and kind.goes_on(values[0], rest[0]):
                values.append(rest.pop(0))
            joined.append(f"{word}={','.join(values)}")
        return joined

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise unknown(action.option_strings[0] if action.option_strings else action.dest, value, list(map(str, action.choices)))


class _Given(argparse.Action):
    """Adds to the recordings that were given before."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        paths = [*(getattr(namespace, self.dest, None) or ()), *(values or ())]
        setattr(namespace, self.dest, paths or None)


class _Offline(argparse.Action):
    """Forbids downloads from here on, in the processes that are started too."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        os.environ["HEARTLENS_OFFLINE"] = "1"
        setattr(namespace, self.dest, True)


def parser_behind(run_command: Callable[[], object]) -> Parser:
    """The parser of a command, which is asked for it and not run."""
    Parser.is_only_asked = True
    try:
        run_command()
    except OnlyTheParser as answer:
        return answer.parser
    finally:
        Parser.is_only_asked = False
    raise AssertionError("the command read no arguments")


def add_checkpoint(parser: Any, text: str) -> None:
    """What is run: a checkpoint by name, alias or file."""
    parser.add_argument("checkpoint", help=text)
    parser.add_argument("--published-only", action="store_true", help="refuse the embedded model that an alias else falls back to")


def add_paths(parser: Any, group: Any, text: str = "recordings: files, folders or patterns, any number") -> None:
    """Recordings: the positional arguments, with `--data` as a synonym; both are in `data`, which is None without any."""
    parser.add_argument("data", nargs="*", default=None, action=_Given, metavar="DATA", help=text)
    group.add_argument("--data", nargs="+", action=_Given, metavar="PATH", help="the same as DATA")


def add_persons(group: Any) -> None:
    """Who was recorded, and how names are stored."""
    group.add_argument("--persons", metavar="TABLE", help="who was recorded: a CSV of record,person; all statistics are over persons")
    group.add_argument("--person", metavar="PATTERN", help="who was recorded: a regular expression with one group, or path (the folder)")
    group.add_argument(
        "--keep-names", action="store_true", help="store persons, folders and dates as they are, not coded (docs/results.md)"
    )


def add_format(group: Any) -> None:
    """The formats of figures."""
    text = "formats of the figure, with commas between: pdf, svg, png (default: pdf,png)"
    group.add_argument("--format", type=Listed(choices=FORMATS), default=["pdf", "png"], metavar="FORMAT,...", help=text)


def add_json(group: Any) -> None:
    """Data in the place of sentences."""
    group.add_argument("--json", action="store_true", help="print the findings as JSON")


def add_device(group: Any) -> None:
    """Where the model runs."""
    group.add_argument("--device", default="auto", choices=DEVICES, help="auto takes a CUDA device where there is one")


def add_engine(group: Any) -> None:
    """What runs the model."""
    group.add_argument("--engine", default="auto", choices=ENGINES, help="what runs the model: auto takes the fastest that is exact for it")


def add_ablate(group: Any) -> None:
    """What of the model is taken away."""
    text = "parts of the model set to zero, with commas between: heads as L4H5, MLPs as MLP8, layers as L3 (counted from 1)"
    group.add_argument("--ablate", type=Listed(part_named), metavar="PART,...", help=text)


def add_offline(group: Any) -> None:
    """No downloads."""
    group.add_argument("--offline", nargs=0, default=False, action=_Offline, help="download nothing")


def add_quiet(group: Any) -> None:
    """Nothing on stderr but errors."""
    group.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors, and which model stands in for an alias")


def _is(kind: Callable[[str], Any], word: str) -> bool:
    try:
        kind(word)
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return True


def path_given(text: str) -> Path:
    """The path that an option names, `~` being a home folder. Refuses what no file system takes, and the home of nobody."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("the path is empty or holds a zero byte")
    longest = max((part for part in text.split("/")), key=lambda part: len(os.fsencode(part)))
    if len(os.fsencode(longest)) > LONGEST_NAME or len(os.fsencode(text)) > LONGEST_PATH:
        raise argparse.ArgumentTypeError(
            f"the name {longest[:30]}... has {len(os.fsencode(longest))} bytes; at most {LONGEST_NAME} are legal"
        )
    try:
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: nobody of this name has a home folder here") from error
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    return path


def add_options(group: Any, options: type) -> None:
    """An option of the command line for each field of a dataclass of options."""
    for option in options_of(options):
        flag = f"--{option.name.replace('_', '-')}"
        text = f"{option.help} (default: {option.default})"
        if option.type is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=option.help)
        else:
            group.add_argument(flag, type=option.type, default=option.default, choices=option.choices or None, help=text)
