"""Draw a stored result anew, without measuring: at another width, in another style or colour map, in other formats.

`heartlens redraw out/X --width 89 --style my.mplstyle --cmap cividis --format pdf,png,svg` writes the figure of the stored summary to
out/X-redrawn. 89 mm is one column of a journal, 183 mm a page. A style is a matplotlib style file, or the name of one of matplotlib's.
"""

import sys
from pathlib import Path

from heartlens.exits import DONE, exit_code
from heartlens.folder import Folder
from heartlens.parser import Parser, add_format, path_given
from heartlens.refusal import Refusal
from heartlens.results import opened


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    parser = Parser(prog="heartlens redraw", description=__doc__, allow_abbrev=False)
    parser.add_argument("result", type=path_given, metavar="FOLDER", help="the folder of a result")
    parser.add_argument("--width", type=float, metavar="MM", help="width of the figure in mm (default: as it was designed)")
    parser.add_argument("--style", metavar="STYLE", help="a matplotlib style: a file, or the name of one that comes with matplotlib")
    parser.add_argument("--cmap", metavar="NAME", help="colour map of maps (default: PuOr_r for both signs, Purples for amounts)")
    add_format(parser)
    parser.add_argument("--out", type=path_given, metavar="FOLDER", help="where the figure goes (default: FOLDER-redrawn)")
    parser.add_argument("--overwrite", action="store_true", help="replace the figure in the output folder")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr but errors")
    given = parser.strict(arguments)
    result = opened(given.result)
    out: Path = given.out or result.path.with_name(f"{result.path.absolute().name}-redrawn")
    if out.absolute() == result.path.absolute():
        raise Refusal(f"{out} is the result itself; give another --out")
    drawer, summary = result.drawer, result.summary
    names = [f"{result.name}.{suffix}" for suffix in dict.fromkeys(given.format)]
    from heartlens import figures

    with Folder(out) as folder:
        if folder.is_result and not given.overwrite:
            raise Refusal(f"{out} holds a result; give another --out, or --overwrite")
        folder.refuse_foreign()
        with figures.look(given.width, given.style, given.cmap):
            figure = drawer.plot(summary)
        folder.claim()

        def fill(beside: Path) -> None:
            for name in names:
                figures.save(figure, beside / name)

        try:
            folder.give(fill)
        except OSError as error:
            raise Refusal(f"{out} cannot be written ({error.strerror or error}); name another folder with --out") from error
    if not given.quiet:
        print("written: " + ", ".join(str(out / name) for name in names), file=sys.stderr)
    return DONE
