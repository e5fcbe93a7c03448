"""What a server may do to a caller: each takes the connection and an event that is set when the test is over, and has no more than 10 s."""

import time

LONG_S = 10.0


def nothing(connection, done):
    """Hangs up."""


def hang(connection, done):
    """Never answers."""
    done.wait(LONG_S)


def drip(connection, done):
    """A byte now and then, each well within any timeout of a read."""
    end = time.monotonic() + LONG_S
    while not done.wait(0.05) and time.monotonic() < end:
        connection.sendall(b"x")


def flood(connection, done):
    """Bytes without end, as fast as they are taken."""
    end = time.monotonic() + LONG_S
    while not done.is_set() and time.monotonic() < end:
        connection.sendall(bytes(1 << 16))


def sending(content, then=nothing):
    """The answer of these bytes, and what comes `then`."""

    def answer(connection, done):
        connection.sendall(content)
        then(connection, done)

    return answer
