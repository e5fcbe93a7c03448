"""argparse as every command uses it: an error is a one-line refusal, and an unknown option is answered with the nearest legal one."""

import argparse
from typing import Any, NoReturn

from heartlens.options import options_of
from heartlens.refusal import Refusal, unknown


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


def add_options(group: Any, options: type) -> None:
    """An option of the command line for each field of a dataclass of options."""
    for option in options_of(options):
        flag = f"--{option.name.replace('_', '-')}"
        text = f"{option.help} (default: {option.default})"
        if option.type is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=option.help)
        else:
            group.add_argument(flag, type=option.type, default=option.default, choices=option.choices or None, help=text)
