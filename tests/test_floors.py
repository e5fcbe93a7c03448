"""The house rules, read off the source: floors, doors to heavy packages, sizes, names; and what starting up imports."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from planted import model_of, random_state

from heartlens.analyses.head_scan import HeadScan
from heartlens.analysis import run
from heartlens.measures.beat_matching import averaged, beats_of
from heartlens.progress import shown
from heartlens.signals.simulate import simulated
from heartlens.store import write_summary

PACKAGE = Path(__file__).parents[1] / "heartlens"

FLOORS = (  # lowest first; a module imports lower floors and its own room
    (
        "axes",
        "refusal",
        "exits",
        "options",
        "parser",
        "findings",
        "wording",
        "windows",
        "tally",
        "sample",
        "cache",
        "file_key",
        "whole",
        "folder",
        "remake",
        "privacy",
        "progress",
        "options_file",
        "parts",
    ),
    ("signals", "checkpoints", "converters", "provenance"),
    ("engine",),
    ("models",),
    ("measures",),
    ("inference",),
    ("analysis", "gather", "scale", "netcdf", "store", "partial", "figures", "paragraph", "report", "standard", "comparison"),
    ("trial",),
    ("training",),
    ("tasks",),
    ("cli", "session", "merge", "results", "methods", "completion"),
    ("analyses",),
    ("paper",),
    ("app",),
    ("__main__",),
)
WHOLE_FLOORS = (0, 6, 10)  # the words, the frame and the doors are one room each
EXCEPTIONS = {  # importer -> imported: why
    ("models.readouts", "measures.beat_matching"): "a beat detector's outputs are read by the published procedure; arrays only",
    ("converters.__main__", "checkpoints"): "the command lists, fetches and converts checkpoints ...",
    ("converters.__main__", "models"): "... takes one by name ...",
    ("converters.__main__", "signals"): "... on simulated windows ...",
    ("converters.__main__", "provenance"): "... with versions ...",
    ("converters.__main__", "store"): "... in a file written whole",
    ("cli", ""): "the version that --version prints",
    ("session", ""): "the version that options.toml is for",
    ("tasks.command", ""): "the version that options.toml is for",
    ("training.command", ""): "likewise",
    ("training.finetune_command", ""): "likewise",
    ("results.run", ""): "the version that options files must be for",
    ("results.run", "__main__"): "an options file may name any command",
    ("completion", "__main__"): "completion completes all commands",
    ("__main__", ""): "likewise",
    ("", "*"): "the front door: every public name, imported when first asked for",
}
DOORS = {
    "torch": ("engine", "models", "converters", "checkpoints", "training", "tasks"),
    "transformer_lens": ("engine", "models", "converters", "checkpoints", "training"),
    "numba": ("engine",),
    "llvmlite": ("engine",),
    "matplotlib": ("figures",),
    "dask": ("scale",),
    "distributed": ("scale",),
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path for path in PACKAGE.rglob("*.py")
}


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree, with_types=True):
    """Every absolute name that is imported, also inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif with_types or not is_type_checking(node):
            yield from imports(node, with_types)


@cache
def imported_by(name, with_types=True):
    """The same of a module, read off its source once."""
    return list(imports(ast.parse(MODULES[name].read_text(encoding="utf-8")), with_types))


def imported_modules(name):
    """The modules of heartlens that a module imports, without `heartlens.`; `from heartlens import x` is "" where x is no module."""
    for full in imported_by(name):
        if full.split(".")[0] == "heartlens":
            parts = full.split(".")[1:]
            yield ".".join(parts) if ".".join(parts) in MODULES else ".".join(parts[:-1])


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def floor_of(name):
    return next((floor for floor, rooms in enumerate(FLOORS) if name.split(".")[0] in rooms), None)


def is_allowed(importer, imported):
    if importer == "":
        return True
    if any(within(importer, who) and (within(imported, what) if what else imported == "") for who, what in EXCEPTIONS if who):
        return True
    here, there = floor_of(importer), floor_of(imported)
    is_same_room = importer.split(".")[0] == imported.split(".")[0] or (here == there and here in WHOLE_FLOORS)
    return there is not None and (there < here or is_same_room)


def test_every_module_has_a_floor():
    assert [name for name in MODULES if name and floor_of(name) is None] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_lower_floors_and_its_own_room(name):
    assert [found for found in imported_modules(name) if not is_allowed(name, found)] == []


@pytest.mark.parametrize("exception", [pair for pair in EXCEPTIONS if pair[0]], ids=" <- ".join)
def test_every_exception_is_needed(exception):
    importer, imported = exception
    assert any(
        within(found, imported) if imported else found == ""
        for name in MODULES
        if within(name, importer)
        for found in imported_modules(name)
    )


@pytest.mark.parametrize("heavy", list(DOORS))
def test_heavy_packages_are_imported_only_behind_their_doors(heavy):
    users = {name for name in MODULES if heavy in (full.split(".")[0] for full in imported_by(name, with_types=False))}
    assert {name for name in users if not any(within(name, door) for door in DOORS[heavy])} == set()


def test_analyses_never_import_each_other():
    for name in MODULES:
        if name.startswith("analyses."):
            package = ".".join(name.split(".")[:2])
            assert [other for other in imported_modules(name) if within(other, "analyses") and not within(other, package)] == []


def test_names_say_what():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler"}
    assert [name for name in MODULES if drawers & set(name.split("."))] == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: beats_of(np.zeros((2, 9)), 50.0),  # axes
        lambda: beats_of(np.zeros(9, int), 50.0),  # numbers
        lambda: averaged(np.zeros((2, 9)), np.zeros(3, int), 20),  # the same axis twice
        lambda: shown("no"),  # without arrays
    ],
    ids=["axes", "numbers", "one axis of two arrays", "no array"],
)
def test_types_are_executed(wrong):
    with pytest.raises(Exception, match=r"violates type hint|Type-check error"):
        wrong()


@pytest.mark.parametrize(
    "started",
    [
        "import heartlens; dir(heartlens)",
        "from heartlens.store import read_summary",
        "from heartlens.cli import run_command\n"
        "try: run_command('heartlens.analyses.head_scan', ['--help'])\n"
        "except SystemExit as end: assert end.code == 0",
        "from heartlens.converters.__main__ import main\nassert main(['verify', '--sed']) == 2",
    ],
    ids=["import", "reading a result", "--help", "a refused command"],
)
def test_starting_up_imports_no_heavy_package(started):
    assert_imports_none(list(DOORS), started)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A summary's file."""
    model, windows = model_of(random_state()), simulated("ecg", 2, 1)
    path = tmp_path_factory.mktemp("stored") / "summary.nc"
    write_summary(run(HeadScan(n_twins=0, n_permutations=99), model, windows), path)
    return path


@pytest.mark.parametrize(
    ("used", "doors"),
    [("summary", []), ("hl.HeadScan().findings(summary)", []), ("hl.HeadScan().plot(summary)", ["matplotlib"])],
    ids=["read", "said", "drawn"],
)
def test_a_stored_result_is_read_said_and_drawn_without_what_measured_it(stored, used, doors):
    """But for dask, which xarray itself imports where it is installed, to ask it whether an array is one of its own."""
    reading = f"import heartlens as hl\nfrom heartlens.store import read_summary\nsummary = read_summary({str(stored)!r})\n"
    assert_imports_none([heavy for heavy in DOORS if heavy not in ("dask", *doors)], reading + used)


def assert_imports_none(packages, code):
    code = f"{code}\nimport sys\nassert not set({packages!r}) & set(sys.modules), set({packages!r}) & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
