"""`python -m heartlens.analyses.similarity_screen`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.similarity_screen")
