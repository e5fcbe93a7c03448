"""`python -m heartlens.analyses.reliance`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.reliance")
