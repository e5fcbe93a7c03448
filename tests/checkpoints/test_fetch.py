"""Where a published zip is looked for, and what a download leaves behind when it fails: nothing."""

import gc
import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest
from werkzeug import Response

from heartlens.checkpoints import fetch, registry
from heartlens.checkpoints.fetch import cache_folder, download, find, is_offline, search_path
from heartlens.checkpoints.registry import published
from heartlens.refusal import Refusal

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

NAME, FILE = "ecgpt-560k", "ECGPT_560k_iters.zip"


@pytest.fixture
def served(httpserver, monkeypatch):
    """`served(handler)`: upstream is a server on this machine that answers so."""
    monkeypatch.setattr(registry, "UPSTREAM", httpserver.url_for("/Model_files"))
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.5)
    return httpserver.expect_request(f"/Model_files/{FILE}").respond_with_handler


def test_the_published_names_are_pinned_to_one_commit_and_five_hashes():
    assert published("ecg").url == (
        "https://raw.githubusercontent.com/harryjdavies/HeartGPT/3acd46822534dc90e2cfface43aa12347c9147d8/Model_files/ECGPT_560k_iters.zip"
    )
    assert len({checkpoint.sha256 for checkpoint in registry.CHECKPOINTS.values()}) == 5


def test_the_published_hashes_are_those_of_the_shared_zips(shared):
    for checkpoint in registry.CHECKPOINTS.values():
        content = (shared / "heartgpt/Model_files" / checkpoint.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checkpoint.sha256


def test_folders_are_searched_in_order_then_the_cache(fake_zip, monkeypatch, tmp_path):
    folders = [tmp_path / "first", tmp_path / "second", tmp_path / "cache"]
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", os.pathsep.join(map(str, folders[:2])))
    assert search_path() == folders
    assert find(published(NAME)) is None
    for folder in reversed(folders):
        folder.mkdir()
        (folder / FILE).write_bytes(fake_zip)
        assert find(published(NAME)) == folder / FILE


def test_empty_entries_and_the_home_folder_in_the_search_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", f"{os.pathsep}~/models{os.pathsep}")
    monkeypatch.delenv("HEARTLENS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert search_path()[0] == tmp_path / "models"
    assert len(search_path()) == 2
    assert "heartlens" in Path(cache_folder()).parts


def test_a_file_of_another_hash_is_refused_with_both_hashes(fake_zip, monkeypatch, tmp_path):
    monkeypatch.setenv("HEARTLENS_CHECKPOINTS", str(tmp_path))
    (tmp_path / FILE).write_bytes(b"something else")
    expected, found = (hashlib.sha256(content).hexdigest() for content in (fake_zip, b"something else"))
    with pytest.raises(Refusal, match=f"{FILE} is not {NAME}: its SHA-256 is {found}, published is {expected}; replace or remove"):
        find(published("ecg"))


def test_a_good_download_lands_in_the_cache(fake_zip, served, tmp_path):
    served(lambda request: Response(fake_zip))
    path = download(published(NAME))
    assert path == tmp_path / "cache" / FILE
    assert path.read_bytes() == fake_zip
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [FILE]


def refused_download(tmp_path):
    """What the refusal says; it names URL, hash, file and folder, and the cache is empty."""
    with pytest.raises(Refusal, match=f"^{NAME} ") as caught:
        download(published(NAME))
    said, checkpoint = str(caught.value), published(NAME)
    for part in (checkpoint.url, checkpoint.sha256, FILE, str(tmp_path / "cache"), "HEARTLENS_CHECKPOINTS"):
        assert part in said
    assert "\n" not in said
    assert not list((tmp_path / "cache").glob("*"))
    return said


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda content: Response(content[:-1] + b"x"), "hash"),
        (lambda content: Response(b"<html>please log in</html>", content_type="text/html"), "hash"),
        (lambda content: Response("no such file", status=404), "404"),
        (lambda content: Response("broken", status=500), "500"),
        (lambda content: Response(content[: len(content) // 2]), "hash"),
        (lambda content: Response(b""), "hash"),
    ],
    ids=["wrong hash", "login page", "404", "500", "half", "empty"],
)
def test_a_bad_answer_is_refused_and_leaves_nothing(fake_zip, served, tmp_path, answer, reason):
    served(lambda request: answer(fake_zip))
    assert reason in refused_download(tmp_path)
    if reason in ("404", "500"):
        gc.collect()  # pooch leaves the socket of a bad status open; the warning of that belongs to this test


@pytest.fixture
def raw_server(monkeypatch):
    """`raw_server(sent)`: upstream sends these bytes to one caller; then hangs up, or waits if `hangs`."""
    listener, done = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def start(sent, hangs):
        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(sent)
                if hangs:
                    done.wait(10)

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setattr(registry, "UPSTREAM", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr(fetch, "TIMEOUT_S", 0.5)

    yield start
    done.set()
    listener.close()


@pytest.mark.parametrize("hangs", [False, True], ids=["cut off", "stalled"])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nPK\x03\x04"], ids=["silent", "begun"])
def test_a_connection_that_is_cut_or_stalls_is_refused_and_leaves_nothing(fake_zip, raw_server, tmp_path, sent, hangs):
    raw_server(sent, hangs)
    assert "could not be downloaded" in refused_download(tmp_path)


def test_a_refused_connection(fake_zip, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(registry, "UPSTREAM", f"http://127.0.0.1:{port}")
    assert "could not be downloaded" in refused_download(tmp_path)


def test_a_cache_that_cannot_be_written_is_a_refusal(fake_zip, served, monkeypatch, tmp_path):
    served(lambda request: Response(fake_zip))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEARTLENS_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(Refusal, match="could not be downloaded"):
        download(published(NAME))


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("", False), ("0", False), ("False", False), ("no", False)])
def test_offline_forbids_the_download_without_asking_anybody(fake_zip, monkeypatch, tmp_path, value, offline):
    monkeypatch.setenv("HEARTLENS_OFFLINE", value)
    assert is_offline() is offline
    if offline:
        assert "downloads are off (HEARTLENS_OFFLINE)" in refused_download(tmp_path)
