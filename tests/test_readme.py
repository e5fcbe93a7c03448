"""The README is true: its commands exist, its Python runs on a real recording, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALLER = {  # so that the example takes seconds
    "max_windows=20": "max_windows=2",
    "hl.HeadScan()": "hl.HeadScan(n_twins=2, twin_windows=2, n_permutations=99)",
}


def test_its_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"make (\w+)    #", README)) == {"scan", "test"} <= targets


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", README))))
def test_its_links_lead_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", re.findall(r"\| `heartlens (.+)` \|", README))
def test_its_commands_are_legal(command):
    from heartlens.__main__ import command as command_named
    from heartlens.parser import parser_behind

    name, *rest = shlex.split(command)
    run = command_named(name)
    parser_behind(lambda: run(rest)).strict(rest)


def test_its_python_runs(shared, tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]
    for written, smaller in (SMALLER | {"rec/100.hea": str(shared / "data/mitdb/100.hea")}).items():
        assert written in code or written.startswith("rec/")
        code = code.replace(written, smaller)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(shared / "heartgpt/Model_files"))
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "cache"))
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["summary"]["lift"].dims == ("query", "wave", "layer", "head")
    assert (tmp_path / "scan.pdf").read_bytes().startswith(b"%PDF")
