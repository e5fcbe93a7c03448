"""The methods paragraph of a stored result, for a paper, and the BibTeX of what it cites (`heartlens methods out/X`)."""

import json
import sys
from pathlib import Path
from typing import NoReturn

from heartlens.exits import DONE, exit_code, leave
from heartlens.paragraph import bibtex, paragraph
from heartlens.parser import Parser, path_given
from heartlens.refusal import Refusal
from heartlens.results import Result


def main() -> NoReturn:
    """Print the paragraph of the command line's result and leave with the exit code."""
    leave(lambda: run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens methods", description=__doc__, allow_abbrev=False)
    parser.add_argument("result", type=path_given, metavar="FOLDER", help="the folder of a result, or its summary.nc")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--bibtex", action="store_true", help="print the BibTeX entries alone")
    only.add_argument("--json", action="store_true", help="print both as JSON")
    given = parser.strict(arguments)
    file = summary_file(given.result)
    result = Result(file.parent, file.name)
    summary = result.summary
    if "analysis" not in summary.attrs:
        raise Refusal(f"{file} does not say which analysis made it; give the summary.nc of a result of this version")
    text = paragraph(result.drawer.findings(summary), summary)
    entries = bibtex(text, summary.attrs)
    if given.json:
        print(json.dumps({"paragraph": text, "bibtex": entries}, indent=1))
    else:
        print(entries if given.bibtex else f"{text}\n\n{entries}")
    if not summary.attrs.get("data_is_simulated"):
        print("cite the recordings too: docs/corpora.md has the entries of the public ones", file=sys.stderr)
    return DONE


def summary_file(path: Path) -> Path:
    """The summary of a result, named by its folder or itself. Refuses a folder without one, and names those below it that have one."""
    if not path.exists():
        raise Refusal(f"{path}: no such file or folder; give the folder of a result, as --out named it")
    if not path.is_dir():
        return path
    if not (path / "summary.nc").is_file():
        below = sorted(str(file.parent) for file in path.glob("*/summary.nc"))
        hint = f"these folders in it do: {', '.join(below[:4])}" if below else "give the folder of an analysis' result"
        raise Refusal(f"{path} holds no summary.nc; {hint}")
    return path / "summary.nc"


if __name__ == "__main__":
    main()
