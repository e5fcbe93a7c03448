"""`python -m heartlens.analyses.attribution`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.attribution")
