"""docs/adding_an_analysis.md is true: its file is the package's, its Python runs, its links lead somewhere."""

import re
from pathlib import Path

import heartlens

PAGE = Path(heartlens.__file__).parents[1] / "docs" / "adding_an_analysis.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILE, *USES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_file_is_the_package():
    source = (Path(heartlens.__file__).parent / "analyses/previous_beat/__init__.py").read_text(encoding="utf-8")
    assert source == FILE
    n_lines = sum(bool(line.strip()) for line in source.splitlines())
    assert f"{n_lines} lines without the empty ones" in TEXT
    assert n_lines <= 30


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (PAGE.parent / link).exists(), link


def test_its_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in USES:
        exec(compile(code, PAGE.name, "exec"), names)
    assert names["summary"]["looks_back_verdict"].dims == ("layer", "head")
    assert (tmp_path / "previous_beat.pdf").read_bytes().startswith(b"%PDF")
    assert re.search(r"looks_back \d of 3 ", capsys.readouterr().out)


def test_its_command_exists(capsys):
    from heartlens.analyses.__main__ import main

    assert main(["previous_bea"]) == 2
    assert "did you mean 'previous_beat'" in capsys.readouterr().err
