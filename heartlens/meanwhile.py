"""What a command needs only at its end is imported while it measures, when compiled code runs and the interpreter is free."""

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from threading import Thread

DRAWING = ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "h5netcdf")


def import_meanwhile(modules: Sequence[str] = DRAWING) -> None:
    """Begin to import modules in a thread. One that cannot be imported is left to the import that needs it."""

    def work() -> None:
        for name in modules:
            with suppress(Exception):
                import_module(name)

    Thread(target=work).start()
