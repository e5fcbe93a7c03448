"""docs/transformerlens_tools.md says which TransformerLens tools work: every row is what its check answers today."""

import pytest
from lens_tools import PAGE, TOOLS, page, row

from heartlens.converters.lens import BRIDGED

LINES = PAGE.read_text(encoding="utf-8").splitlines()
WRITTEN = {each: next((line for line in LINES if line.startswith(f"| {each.name} |")), "") for each in TOOLS}


@pytest.mark.skipif(BRIDGED, reason="the page is of TransformerLens 3.9")
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.check.__name__)
def test_the_page_says_what_the_tool_does(tool):
    assert row(tool) == WRITTEN[tool], "make pages writes the page anew"


def test_the_page_holds_nothing_else():
    assert page(WRITTEN).splitlines() == LINES


def test_names_are_of_one_tool_each():
    assert len({each.name for each in TOOLS}) == len(TOOLS)


def test_what_does_not_work_has_something_to_use_here():
    assert [each.name for each in TOOLS if not WRITTEN[each].endswith("|  |") and not each.instead] == []
