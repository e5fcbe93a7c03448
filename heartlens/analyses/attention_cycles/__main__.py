"""`python -m heartlens.analyses.attention_cycles`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.attention_cycles")
