"""Two that write the same file at once: both succeed, the later one's content stays, and no part of either."""

from pathlib import Path

from heartlens.whole import write_whole


def test_two_that_write_at_once_do_not_meet(monkeypatch, tmp_path):
    replace = Path.replace

    def replace_after_another(partial, target):
        monkeypatch.setattr(Path, "replace", replace)
        write_whole(b"theirs", target)
        return replace(partial, target)

    monkeypatch.setattr(Path, "replace", replace_after_another)
    write_whole(b"ours", tmp_path / "deep" / "file")
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "deep").iterdir()] == [("file", b"ours")]
