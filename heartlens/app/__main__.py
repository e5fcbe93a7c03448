"""`python -m heartlens.app` is `heartlens app`."""

import sys

from heartlens.app import run_command

if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
