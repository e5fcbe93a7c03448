"""`python -m heartlens.analyses.homonyms`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.homonyms")
