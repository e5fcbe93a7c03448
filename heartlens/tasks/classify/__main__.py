"""`python -m heartlens.tasks.classify`."""

import sys

from heartlens.exits import leave
from heartlens.tasks.classify import run_command

if __name__ == "__main__":
    leave(lambda: run_command(sys.argv[1:]))
