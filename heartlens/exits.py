"""How a command ends: 0 done, 1 failure, 2 usage or input, 3 partial, 130 interrupted. A refusal is one line on stderr, no traceback."""

import os
import sys
from collections.abc import Callable

from heartlens.refusal import Refusal

DONE, FAILURE, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130


def exit_code(command: Callable[[], int]) -> int:
    """The exit code of `command()`, with refusals and interruptions said in one line."""
    try:
        return command()
    except Refusal as refusal:
        print(f"heartlens: {refusal}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt as interruption:
        print(f"heartlens: interrupted; {str(interruption) or 'nothing was written'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who read our output has left
        return FAILURE
