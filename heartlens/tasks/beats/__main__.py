"""`python -m heartlens.tasks.beats`."""

import sys

from heartlens.exits import leave
from heartlens.tasks.beats import run_command

if __name__ == "__main__":
    leave(lambda: run_command(sys.argv[1:]))
