"""The server: who is answered, what is taken, and that tabs are apart."""

import asyncio
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from asking import AT, PORT, TOKEN, Asker, client_of, long_csv
from starlette.testclient import TestClient

from heartlens.app.tabs import House
from heartlens.signals.files import Files
from heartlens.signals.simulate.recording import simulated_csv
from heartlens.signals.strip import strip_of


@pytest.fixture
def tab(client):
    return Asker(client)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-heartlens-token": "guessed"}, "token"),
        ({"host": "evil.example"}, "address"),
        ({"host": f"evil.example:{PORT}"}, "address"),
        ({"origin": "http://evil.example"}, "own page"),
        ({"origin": "null"}, "own page"),
    ],
)
def test_strangers_are_refused(client, headers, reason):
    response = client.post("/api/start", json={}, headers=headers)
    assert response.status_code == 403
    assert reason in response.text


def test_the_page_needs_the_token_of_the_address(client):
    bare = TestClient(client.app, base_url=AT)
    refused = bare.get("/")
    assert refused.status_code == 403
    assert refused.headers["content-type"].startswith("text/html")  # a person looks at it
    assert "whole address" in refused.text
    assert "This is not a medical device." in refused.text
    page = bare.get(f"/?token={TOKEN}")
    assert page.status_code == 200
    assert "This is not a medical device." in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"


def test_the_page_asks_nothing_of_other_hosts(client):
    page = client.get(f"/?token={TOKEN}").text
    assert re.findall(r"(?:src|href)=\"(https?:[^\"]*)\"", page) == []


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/guard.py", "/static//etc/passwd"])
def test_no_other_file_is_served(client, path):
    assert client.get(path).status_code in (403, 404)


def test_a_question_too_long_is_not_read(client, tab):
    assert client.post("/api/signal/window", content=b"x" * (2**20 + 1)).status_code == 403


def test_an_upload_is_read_as_the_package_reads_it(tab, tmp_path):
    text = simulated_csv("ecg", "af", seed=3, duration_s=20)
    response = tab.upload(("mine.csv", text.encode()))
    assert response.status_code == 200, response.text
    recording = tab.ask("signal", "open", upload=response.json()["upload"])
    path = tmp_path / "mine.csv"
    path.write_text(text)
    files = Files((str(path),), kind="ecg")
    strip = strip_of(files.recording(files.names()[0]), "ecg")
    assert recording["duration_s"] == pytest.approx(20)
    assert recording["beats_s"] == pytest.approx(strip.beats_s().tolist())
    window = tab.ask("signal", "window", start_s=3.21)
    assert window["start_s"] == pytest.approx(3.21)
    assert window["tokens"] == strip.window_at(3.21).tokens[0].tolist()


def test_two_files_of_one_name_are_refused(tab):
    response = tab.upload(("a#1.csv", b"1"), ("a&1.csv", b"2"))
    assert response.status_code == 422
    assert "two files are called" in response.json()["refusal"]


def test_bad_files_are_refused_in_one_line_and_the_recording_stays(tab):
    tab.ask("signal", "open", example="simulated ECG, sinus rhythm")
    upload = tab.upload(("bad.mat", b"MATLAB 5.0 MAT-file" + bytes(300))).json()["upload"]
    reason = tab.refusal("signal", "open", upload=upload)
    assert "bad.mat" in reason
    assert "Traceback" not in reason
    assert tab.ask("signal", "described")["name"] == "simulated ECG, sinus rhythm"


def long_reading(tab, house):
    """What reads a long upload now, the thread that waits for the answer, and where the answer will be."""
    upload, answers = tab.upload(("long.csv", long_csv(1).encode())).json()["upload"], []
    thread = threading.Thread(target=lambda: answers.append(tab.post("signal", "open", upload=upload)))
    before = house.tab(tab.key).stop
    thread.start()
    while (stop := house.tab(tab.key).stop) is before or stop._process is None:
        time.sleep(0.01)
    return stop._process._process, thread, answers


def test_reading_can_be_cancelled(tab, house):
    tab.ask("signal", "open", example="simulated ECG, sinus rhythm")
    reading, thread, answers = long_reading(tab, house)
    assert reading.poll() is None
    tab.ask("signal", "cancel")
    assert reading.poll() is not None  # the process has ended, not only the question
    thread.join(30)
    assert answers[0].status_code == 422
    assert "cancelled" in answers[0].text
    assert tab.ask("signal", "described")["name"] == "simulated ECG, sinus rhythm"
    assert tab.ask("signal", "open", example="simulated ECG, premature beats")["name"] == "simulated ECG, premature beats"


def test_opening_another_recording_cancels_the_one_that_is_read(tab, house):
    _, thread, answers = long_reading(tab, house)
    assert tab.ask("signal", "open", example="simulated ECG, sinus rhythm")["name"] == "simulated ECG, sinus rhythm"
    thread.join(30)
    assert "cancelled" in answers[0].text
    assert tab.ask("signal", "described")["name"] == "simulated ECG, sinus rhythm"


def test_an_upload_that_is_cancelled_is_no_error(client, tab):
    headers = {"content-length": "1000", "content-type": "multipart/form-data; boundary=x", "host": f"127.0.0.1:{PORT}"}
    headers |= {"x-heartlens-token": TOKEN, "x-heartlens-tab": tab.key}
    scope = {"type": "http", "method": "POST", "path": "/api/upload", "root_path": "", "query_string": b"", "scheme": "http"}
    scope["headers"] = [(name.encode(), text.encode()) for name, text in headers.items()]
    messages = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        messages.append(message)

    with ThreadPoolExecutor(1) as thread:  # in this one playwright's event loop may run
        thread.submit(lambda: asyncio.run(client.app(scope, receive, send))).result()
    assert messages[0]["status"] == 204


def test_names_of_uploads_lead_nowhere(tab, house):
    response = tab.upload(("../../../evil.csv", b"x"))
    assert response.json()["files"] == ["evil.csv"]
    assert not list(house.folder.parent.glob("evil.csv"))
    assert "not there" in tab.refusal("signal", "open", upload="../..")
    assert "not there" in tab.refusal("signal", "open", upload="..")


def test_the_page_is_not_told_where_uploads_lie(tab, house):
    text = simulated_csv("ecg", duration_s=10)
    upload = tab.upload(("twice.csv", text.encode()), ("twice.txt", text.replace(",", "\t").encode())).json()["upload"]
    recording = tab.ask("signal", "open", upload=upload, kind="ecg")
    assert str(house.folder.name) not in str(recording)
    assert recording["name"] in ("twice", "twice.csv", "twice.txt")


def test_tabs_do_not_see_each_other(client, tab):
    other = Asker(client)
    tab.ask("signal", "open", example="simulated ECG, sinus rhythm")
    upload = tab.upload(("mine.csv", simulated_csv("ecg", duration_s=10).encode())).json()["upload"]
    assert "no recording is open" in other.refusal("signal", "described")
    assert "not there" in other.refusal("signal", "open", upload=upload)
    stranger = Asker(client)
    stranger.key = "guessed"
    assert "not known" in stranger.refusal("signal", "described")


def test_nothing_is_kept_after_the_end(tmp_path):
    house = House((), "ecg-sim-af", tmp_path)
    with client_of(house) as client:
        Asker(client).upload(("mine.csv", b"1,2"))
        assert list(house.folder.rglob("mine.csv"))
    assert not house.folder.exists()


def test_an_ecg_is_refused_to_a_pulse_model(house, tab):
    tab.ask("signal", "open", example="simulated ECG, sinus rhythm")
    own = house.tab(tab.key)
    with pytest.raises(ValueError, match=r"ppg-sim reads PPG, and .* is ECG"):
        own.subject({"model": "ppg-sim"})


def test_the_overview_loses_no_peak(tab, house):
    tab.ask("signal", "open", example="simulated ECG, sinus rhythm")
    overview = tab.ask("signal", "overview", n_columns=37)
    raw = house.tab(tab.key).strip.raw
    assert max(overview["largest"]) == pytest.approx(float(raw.max()))
    assert min(overview["least"]) == pytest.approx(float(raw.min()))
    parts = np.array_split(raw, 37)
    assert overview["largest"] == pytest.approx([float(part.max()) for part in parts], abs=0.6)  # edges differ by a sample


def test_a_recording_is_shown_before_its_waves_are_found(tab):
    early = tab.ask("signal", "open", example="simulated ECG, sinus rhythm", is_marked=False)
    window = tab.ask("signal", "window", start_s=early["starts_s"][0][0])
    assert (early["is_marked"], early["marked_by"], early["beats_s"], window["waves"]) == (False, "", [], [])
    whole = tab.ask("signal", "open", example="simulated ECG, sinus rhythm")
    marked = tab.ask("signal", "window", start_s=whole["starts_s"][0][0])
    assert (whole["is_marked"], {each["wave"] for each in marked["waves"]}) == (True, {"P", "QRS", "T"})
    assert marked["tokens"] == window["tokens"]
    assert {name for name in whole if whole[name] != early[name]} == {"is_marked", "marked_by", "beats_s"}
