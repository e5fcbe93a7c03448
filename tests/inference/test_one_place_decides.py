"""heartlens/inference/verdict.py is the only module that compares a p- or q-value, a bound of an interval or a limit to make a yes."""

import ast
from pathlib import Path

import pytest

import heartlens

PACKAGE = Path(heartlens.__file__).parent
DECIDES = ("q_value", "p_value", "_low", "_high", "null_high", "limit")
BARE = ("low", "high", "p", "q")
SEARCHED = ("analyses", "paper")
COUNTS_ONLY = {  # module -> why its comparison makes no yes
    "analyses/head_scan/words.py": "counts how many the phase null alone would name, to show why twins are needed",
}


def modules():
    return sorted(str(path.relative_to(PACKAGE)) for room in SEARCHED for path in (PACKAGE / room).rglob("*.py"))


def comparisons(source):
    """The source of every comparison of something that is called as what decides: of names, attributes, subscripts, not of None."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for operator in node.ops)
        and any(names_what_decides(ast.unparse(operand)) for operand in (node.left, *node.comparators))
    ]


def names_what_decides(operand):
    return operand in BARE or any(word in operand for word in DECIDES)


def of_module(name):
    return comparisons((PACKAGE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in modules() if name not in COUNTS_ONLY])
def test_no_other_module_decides(name):
    assert of_module(name) == []


def test_the_list_shrinks():
    assert [name for name in COUNTS_ONLY if name not in modules()] == [], "these are gone: take them off the list"
    assert [name for name in COUNTS_ONLY if not of_module(name)] == [], "these decide nothing any more: take them off the list"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("found = summary['q_value'] < ALPHA", True),
        ("holds = (q < 0.05) & (low > twin['null_high'])", True),
        ("survives = scan['lift_low'] > 1", True),
        ("is_above = effect > limit_of(twins)", True),
        ("shown = low > 0", True),
        ("if summary['lift_low'] is None: pass", False),
        ("if n_records < FEW: pass", False),
        ("verdict = decide(claim, effect, effect_low, effect_high, n)", False),
    ],
)
def test_a_comparison_that_decides_is_seen(source, is_found):
    assert bool(comparisons(source)) == is_found
