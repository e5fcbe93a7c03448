"""Work that goes on while the page looks at something else: the same question finds it again, unless it was asked to stop."""

import threading

from heartlens.app.jobs import begun
from heartlens.app.tabs import House


def test_work_that_was_asked_to_stop_is_not_found_again(tmp_path):
    tab, go_on = House((), "ecg-sim", tmp_path).new_tab(), threading.Event()

    def work(tell):
        go_on.wait(20)
        tell(0.5)
        return "done"

    first = begun(tab, "beats", work, about="a recording")
    assert begun(tab, "beats", work, about="a recording") is first
    first.cancel()
    second = begun(tab, "beats", work, about="a recording")
    assert second is not first
    go_on.set()
    for job in (first, second):
        job.wait(20)
    assert (first.reason, second.result) == ("cancelled", "done")
