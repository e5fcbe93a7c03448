"""A browser app on this machine: see a recording, ask the model, change something and watch the answer change.

`heartlens app [DATA ...]` serves one page on 127.0.0.1 and prints its address, which holds a token: who does not have it gets nothing.
Recordings that are uploaded, and all that is made of them, are gone when the command ends, unless they were saved.
"""

import argparse
import threading
from pathlib import Path

from heartlens.checkpoints.registry import NAMES
from heartlens.exits import DONE, exit_code
from heartlens.parser import Parser, add_offline, add_paths, add_quiet, path_given
from heartlens.refusal import Failure, Refusal, unknown

NOT_MEDICAL = "This is not a medical device."
PORTS = (1024, 65535)


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(arguments))


def parser() -> Parser:
    """What reads the command line."""
    parser = Parser(prog="heartlens app", description=(__doc__ or "").splitlines()[0], epilog=NOT_MEDICAL, allow_abbrev=False)
    add_paths(parser, parser, "recordings that the page offers as examples: files, folders or patterns")
    parser.add_argument("--model", metavar="CHECKPOINT", help="the model the page opens with (default: ecg-af)")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="the port on 127.0.0.1 (default: one that is free)")
    parser.add_argument("--out", type=path_given, metavar="FOLDER", help="stored results that the page may open (default: out)")
    parser.add_argument("--open", action=argparse.BooleanOptionalAction, default=False, help="open the page in the browser")
    add_offline(parser)
    add_quiet(parser)
    return parser


def _run(arguments: list[str]) -> int:
    given = parser().strict(arguments)
    if given.port and not PORTS[0] <= given.port <= PORTS[1]:
        raise Refusal(f"--port is {given.port}; legal: {PORTS[0]} to {PORTS[1]}, or 0 for one that is free")
    if given.model is not None and given.model not in NAMES:
        raise unknown("model", given.model, NAMES)
    if given.data:
        from heartlens.signals.search import search

        search(tuple(given.data))  # refuses what is not there, and what holds no recording
    from heartlens.app.reading import Reader

    reader = Reader()
    threading.Thread(target=reader.warm, daemon=True).start()  # while the server is imported and the browser is opened
    try:
        from heartlens.app.server import serve
        from heartlens.app.tabs import House
    except ImportError as missing:
        raise Failure(f"the app needs {missing.name}; install it with: pip install 'heartlens[app]'") from missing
    house = House(tuple(given.data or ()), given.model or "ecg-af", given.out or Path("out"), reader)
    serve(house, given.port, given.open, given.quiet)
    return DONE
