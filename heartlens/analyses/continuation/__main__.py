"""`python -m heartlens.analyses.continuation`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.continuation")
