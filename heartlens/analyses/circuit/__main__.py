"""`python -m heartlens.analyses.circuit`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.circuit")
