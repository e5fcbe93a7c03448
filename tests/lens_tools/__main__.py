"""Writes docs/transformerlens_tools.md from what the checks answer today: `cd tests && python -m lens_tools`, or `make pages`."""

from lens_tools import PAGE, TOOLS, page, row

PAGE.write_text(page({each: row(each) for each in TOOLS}), encoding="utf-8")
