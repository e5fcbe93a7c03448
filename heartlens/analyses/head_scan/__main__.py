"""`python -m heartlens.analyses.head_scan`."""

from heartlens.cli import main

if __name__ == "__main__":
    main("heartlens.analyses.head_scan")
