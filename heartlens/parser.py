"""argparse as every command uses it: an error is a one-line refusal, and an unknown option is answered with the nearest legal one."""

import argparse
from typing import NoReturn

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
