"""`python -m heartlens.analyses.patching`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.patching")
