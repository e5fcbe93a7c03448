"""Long work of a tab: it runs beside the answers, tells how far it is and what it has, and can be cancelled."""

import secrets
import threading
from collections.abc import Callable
from typing import Any

from heartlens.app.tabs import Tab
from heartlens.refusal import Refusal

Tell = Callable[[float, Any], None]  # how much is done (0 to 1), and what there is so far


class _Cancelled(Exception):
    """Raised within work that is no longer wanted."""


class Job:
    """`work` is given a function to tell its progress with, and returns the result; it runs in a thread of its own.

    `about` says what it is about: where the same is asked for again, the job need not run twice.
    """

    def __init__(self, work: Callable[[Tell], Any], about: Any = None) -> None:
        self.key, self.about = secrets.token_urlsafe(8), about
        self.done, self.reason = 0.0, ""
        self.part: Any = None
        self.result: Any = None
        self._is_cancelled, self.is_over = threading.Event(), False
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Tell], Any]) -> None:
        try:
            self.result = work(self._tell)
        except _Cancelled:
            self.reason = "cancelled"
        except Refusal as refusal:
            self.reason = str(refusal)
        except Exception as error:  # the page must not wait for ever
            self.reason = f"something went wrong ({type(error).__name__}: {error})"
        self.is_over = True

    def _tell(self, done: float, part: Any = None) -> None:
        if self._is_cancelled.is_set():
            raise _Cancelled
        self.done, self.part = done, part

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to stop, which it may not have done yet."""
        return self._is_cancelled.is_set()

    def cancel(self) -> None:
        """Stop at the next step."""
        self._is_cancelled.set()

    def wait(self, seconds: float) -> None:
        """Return when the work is over, at the latest after so many seconds."""
        self._thread.join(seconds)


def begun(tab: Tab, name: str, work: Callable[[Tell], Any], about: Any = None) -> Job:
    """The job, the only one of this name in the tab: another one is cancelled, one about the same thing goes on."""
    with tab.lock:
        jobs: dict[str, Job] = tab.__dict__.setdefault("jobs", {})
        before = jobs.get(name)
        if before is not None and about is not None and before.about == about and not (before.reason or before.is_cancelled):
            return before
        if before is not None:
            before.cancel()
        jobs[name] = Job(work, about)
        return jobs[name]


def job_of(tab: Tab, name: str, asked: dict[str, Any]) -> Job:
    """The job that a question is about. Refuses one that is not there any more, and one that failed."""
    job: Job | None = tab.__dict__.get("jobs", {}).get(name)
    if job is None or job.key != asked.get("job"):
        raise Refusal("this work is not there any more; start it again")
    if job.reason and job.reason != "cancelled":
        raise Refusal(job.reason)
    return job
