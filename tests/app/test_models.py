"""Long work of one view does not keep another one waiting."""

import threading

from asking import Asker, client_of

from heartlens.app.models import Models
from heartlens.app.tabs import House
from heartlens.signals.simulate.recording import simulated_csv


def test_who_waits_has_a_turn_within_long_work():
    models, had = Models(), threading.Event()

    def short() -> None:
        with models.running:
            had.set()

    with models.running:
        other = threading.Thread(target=short)
        other.start()
        for _ in range(200):
            models.give_way()
            if had.is_set():
                break
        assert had.is_set()
    other.join()


def test_beats_of_a_long_recording_give_way(tmp_path, monkeypatch):
    house = House((), "ppg-sim", tmp_path)
    turns = []
    monkeypatch.setattr(house.models, "give_way", lambda: turns.append(1))
    with client_of(house) as client:
        tab = Asker(client, "ppg-sim")
        tab.open("pulse.csv", simulated_csv("ppg", duration_s=60).encode())
        tab.finished("beats", tab.ask("beats", "begin")["job"])
    house.close()
    assert turns
