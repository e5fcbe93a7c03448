"""`python -m heartlens.analyses.ablation`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.ablation")
