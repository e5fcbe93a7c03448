"""Modules imported while something else runs."""

import sys
import threading

from heartlens.meanwhile import import_meanwhile


def test_modules_are_imported_and_one_that_is_not_there_is_left_out(monkeypatch, capfd):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    before = set(threading.enumerate())
    import_meanwhile(["no_module_of_this_name", "colorsys"])
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert "colorsys" in sys.modules
    assert capfd.readouterr() == ("", "")
