"""One tab of the page, asked without a browser."""

from starlette.testclient import TestClient

from heartlens.app.server import application
from heartlens.signals.simulate.recording import simulated_csv

PORT, TOKEN = 8765, "the-token-of-the-test"
AT = f"http://127.0.0.1:{PORT}"

ANSWERED = "heartlens.view.result && heartlens.view.effects"  # what the what-if shows first
MAP = "heartlens.view.maps?.own && heartlens.view.lift"  # what the attention view shows first


def client_of(house):
    """A client that has the token of an app."""
    return TestClient(application(house, TOKEN, PORT), base_url=AT, headers={"x-heartlens-token": TOKEN})


def long_csv(hours):
    """An ECG of some hours: a simulated minute over and over, which takes a while to read."""
    header, *rows = simulated_csv("ecg").splitlines()
    values = [row.split(",")[1] for row in rows] * round(60 * hours)
    return "\n".join([header, *(f"{number / 100:.2f},{value}" for number, value in enumerate(values)), ""])


class Asker:
    """One tab of the page, with the model and the start of the window that are chosen there (none: each question says)."""

    def __init__(self, client, model=None):
        self.client = client
        self.key = client.post("/api/start", json={}).json()["tab"]
        self.chosen = {} if model is None else {"model": model, "start_s": 0.0}

    @property
    def start_s(self):
        return self.chosen["start_s"]

    def post(self, view, answer, **question):
        return self.client.post(f"/api/{view}/{answer}", json=self.chosen | question, headers={"x-heartlens-tab": self.key})

    def ask(self, view, answer, **question):
        response = self.post(view, answer, **question)
        assert response.status_code == 200, response.text
        return response.json()

    def refusal(self, view, answer, **question):
        response = self.post(view, answer, **question)
        assert response.status_code == 422, response.text
        return response.json()["refusal"]

    def upload(self, *files):
        sent = [("file", (name, content)) for name, content in files]
        return self.client.post("/api/upload", files=sent, headers={"x-heartlens-tab": self.key})

    def open(self, name, content, **hints):
        """Open a file, and choose its first window."""
        described = self.ask("signal", "open", upload=self.upload((name, content)).json()["upload"], **hints)
        self.chosen["start_s"] = described["starts_s"][0][0]
        return described

    def finished(self, view, job, **question):
        """The last look at a job."""
        while True:
            answer = self.ask(view, "look", job=job, **question)
            if answer["is_over"]:
                return answer
