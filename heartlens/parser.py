"""argparse as every command uses it: an error is a one-line refusal, and an unknown option is answered with the nearest legal one."""

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn

from heartlens.options import options_of
from heartlens.refusal import Refusal, unknown

LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes


class Parser(argparse.ArgumentParser):
    """argparse, with errors as one-line refusals that name the nearest legal option."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message}; see --help")

    def strict(self, arguments: list[str] | None) -> argparse.Namespace:
        """The parsed arguments (the process' own where None), unknown ones refused."""
        options, left_over = self.parse_known_args(arguments)
        if left_over:
            legal = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            raise unknown("option" if left_over[0].startswith("-") else "argument", left_over[0].split("=")[0], legal)
        return options


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
