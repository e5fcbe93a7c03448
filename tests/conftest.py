"""Types executed: every annotation of the package is checked while the tests run. And the data that are not in the repository."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isfunction, isgeneratorfunction
from pathlib import Path
from typing import Any, ForwardRef, get_args

import jaxtyping
import pytest
import torch
from jaxtyping import AbstractArray, install_import_hook, jaxtyped

gc.disable()  # until all tests are collected: a million objects that stay are not looked through again and again

collect_ignore_glob = ["*conftest.py"]  # they hold no doctests, and two modules of one name cannot both be collected

os.environ["HEARTLENS_NO_LANDMARK_CACHE"] = "1"  # also for the processes that tests start: every test delineates anew

os.environ.setdefault("OMP_NUM_THREADS", "1")  # steps so small cost more when threads share them, on busy machines many times as much

# An int is a float to beartype as it is to mypy, so that `rate_hz=125` is as good as 125.0.
hook = install_import_hook("heartlens", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))").hook
KERNELS = tuple(f"heartlens.engine.{name}" for name in ("kernels", "kernel_compiler", "kernel_rows", "kernel_values", "step_kernel"))
is_checked = hook.should_instrument
hook.should_instrument = lambda name: is_checked(name) and name not in KERNELS  # numba compiles no wrapped function

LONGEST = (  # from half a minute to three minutes of processor time each
    "tests/calibration/test_small_trial.py",
    "tests/test_kill.py",
    "tests/laws/test_laws.py",
    "tests/truth/test_reliance.py",
    "tests/models/test_without.py",
    "tests/engine/test_sums.py",
    "tests/training/test_commands.py",
    "tests/truth/test_ablation.py",
    "tests/test_paper.py",
    "tests/truth/test_attention_shift.py",
    "tests/test_partial.py",
    "tests/test_scale.py",
    "tests/test_merge.py",
    "tests/test_adding_an_analysis.py",
)
BROWSER = (
    "tests/app/test_answers.py",
    "tests/app/test_page.py",
    "tests/app/test_screens.py",
    "tests/app/test_live.py",
    "tests/app/test_views.py",
    "tests/app/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules first, so that at the end no worker waits long for the other: xdist gives out whole modules in this order.

    The app's modules come after all others: where playwright has run, its loop stays until the session ends. Doctests, the shortest, end.
    """

    def place(item: pytest.Item) -> tuple[int, int]:
        for group, names in ((0, LONGEST), (2, BROWSER)):
            for number, name in enumerate(names):
                if item.nodeid.startswith(name):
                    return group, number
        return (1, 0) if item.nodeid.startswith("tests/") else (3, 0)

    items.sort(key=place)
    gc.freeze()
    gc.enable()


def parts_of(annotation: Any) -> Iterator[Any]:
    """An annotation, and what it is made of."""
    yield annotation
    for part in annotation if isinstance(annotation, list | tuple) else get_args(annotation):
        yield from parts_of(part)


def jaxtyped_arrays(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """As `jaxtyping.jaxtyped`, in a tenth of the time for functions without arrays: beartype alone checks them, for they have no axes.

    Left to jaxtyping are classes, generators and coroutines too, and annotations that are text (names that only type checkers import).
    """

    def needs_axes(part: Any) -> bool:
        return isinstance(part, str | ForwardRef) or (isinstance(part, type) and issubclass(part, AbstractArray))

    def decorated(made: Any) -> Any:
        is_plain = isfunction(made) and not (isgeneratorfunction(made) or iscoroutinefunction(made) or isasyncgenfunction(made))
        if is_plain and not any(map(needs_axes, parts_of(list(made.__annotations__.values())))):
            return typechecker(made)
        checked = jaxtyped(made, typechecker=typechecker)
        return often_checked(made, checked) if is_plain else checked

    return decorated


def often_checked(made: Callable[..., Any], checked: Callable[..., Any]) -> Callable[..., Any]:
    """The function, checked in its first calls of a test and in every hundredth one from then on.

    What a detector calls for every beat is called a hundred thousand times, and to be checked takes longer than what it does.
    """

    @wraps(made)
    def either(*args: Any, **options: Any) -> Any:
        calls[made] += 1
        is_checked = calls[made] <= FIRST_CALLS or calls[made] % 100 == 0
        return (checked if is_checked else made)(*args, **options)

    return either


FIRST_CALLS = 200
calls: Counter[Callable[..., Any]] = Counter()  # in the test that runs
jaxtyping.jaxtyped = jaxtyped_arrays  # what the hook writes before every function and class


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published models and real recordings: HEARTLENS_SHARED, else `shared` beside the repository; skips without it."""
    folder = Path(os.environ.get("HEARTLENS_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"real recordings and golden values are not at {folder}; set HEARTLENS_SHARED")
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers in every run, whichever tests ran before it, and checks the types of first calls."""
    torch.manual_seed(0)
    calls.clear()
