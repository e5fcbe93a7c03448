"""A network that failed is asked again after an hour, and not before: who calls is counted."""

import time

import pytest
from werkzeug import Response

from checkpoints.answers import hang, sending
from heartlens.checkpoints import fetch, outage, registry
from heartlens.checkpoints.fetch import Unavailable, download
from heartlens.checkpoints.registry import published

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

NAME, OTHER = "ecgpt-560k", "ppgpt-500k"


def failed(name=NAME):
    """What the refusal of the download says."""
    with pytest.raises(Unavailable) as caught:
        download(published(name))
    return str(caught.value)


def date(marker, seconds_ago):
    """Have the network failed so long ago."""
    marker.write_text(f"{time.time() - seconds_ago}\n{marker.read_text().split(chr(10), 1)[1]}")


@pytest.fixture
def marker(fake_zip, tmp_path):
    """Where the failure is kept."""
    return tmp_path / "cache" / outage.MARKER


def test_a_hang_is_not_repeated_within_the_hour_for_any_checkpoint_of_the_host(raw_server, marker):
    callers = raw_server(hang)
    failed()
    began = time.monotonic()
    again, other = failed(), failed(OTHER)
    assert time.monotonic() - began < fetch.TIMEOUT_S
    assert len(callers) == 1
    assert again.startswith(f"{NAME} is not on this machine: the network failed at ")
    assert "(no complete answer within 0.5 s) and is asked again after " in again
    assert f", or now if you delete {marker}; get https://" in again.replace("http://127", "https://")
    assert other.startswith(f"{OTHER} is not on this machine: the network failed at ")


def test_the_times_of_the_failure_and_of_the_next_try_are_told(raw_server, marker, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        marker.parent.mkdir()
        outage.remember(marker.parent, "why")
        hour, minute = time.gmtime()[3:5]
        said = outage.remembered(marker.parent)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert f"failed at {hour:02}:{minute:02} (why) and is asked again after {(hour + 1) % 24:02}:{minute:02}" in said


def test_after_the_hour_it_is_asked_again(raw_server, marker):
    callers = raw_server(hang)
    failed()
    date(marker, 3590)
    failed()
    assert len(callers) == 1
    date(marker, 3610)
    failed()
    assert len(callers) == 2
    failed()
    assert len(callers) == 2


@pytest.mark.parametrize("spoil", [lambda path: date(path, -600), lambda path: path.write_bytes(b"\xff\xfe"), lambda path: path.unlink()])
def test_a_marker_of_the_future_an_unreadable_and_a_deleted_one_do_not_count(raw_server, marker, spoil):
    callers = raw_server(hang)
    failed()
    spoil(marker)
    failed()
    assert len(callers) == 2


@pytest.mark.parametrize("content", ["", "nan\nwhy", "why", "1e999\nwhy"])
def test_other_files_of_that_name_do_not_count(tmp_path, content):
    (tmp_path / outage.MARKER).write_text(content)
    assert outage.remembered(tmp_path) is None


def test_a_network_that_works_again_is_no_outage(fake_zip, httpserver, monkeypatch, marker):
    httpserver.expect_request(f"/{published(NAME).file}").respond_with_data(fake_zip)
    monkeypatch.setattr(registry, "UPSTREAM", httpserver.url_for("").rstrip("/"))
    marker.parent.mkdir()
    outage.remember(marker.parent, "why")
    date(marker, 3700)
    assert download(published(NAME)).is_file()
    assert not marker.exists()


def test_an_answer_of_no_use_is_no_outage(fake_zip, httpserver, monkeypatch, marker):
    answers = iter([Response("no such file", status=404), Response("<html>log in</html>"), Response(fake_zip)])
    httpserver.expect_request(f"/{published(NAME).file}").respond_with_handler(lambda request: next(answers))
    monkeypatch.setattr(registry, "UPSTREAM", httpserver.url_for("").rstrip("/"))
    assert "404" in failed()
    assert "what came has another hash" in failed()
    assert download(published(NAME)).read_bytes() == fake_zip


def test_a_refused_connection_is_not_repeated(fake_zip, raw_server, monkeypatch):
    asked = []

    def refuse(self, url, *given):
        asked.append(url)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", refuse)
    assert "could not be downloaded ([Errno 111] Connection refused)" in failed()
    assert "([Errno 111] Connection refused) and is asked again after" in failed()
    assert asked == [published(NAME).url]


def test_offline_is_no_outage(fake_zip, raw_server, monkeypatch, marker):
    callers = raw_server(sending(b""))
    monkeypatch.setenv("HEARTLENS_OFFLINE", "1")
    failed()
    assert not marker.exists()
    assert callers == []
    assert fetch.is_offline()
