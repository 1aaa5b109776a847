"""What a session keeps, from whom, and what ends it."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Execute, Subject
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("sessions")


def not_fresh(subject: Subject) -> str:
    return "a session keeps what earlier runs left, which fresh runs exclude" if subject.fresh else ""


@AREA.check(
    "session forgotten",
    proves="sessions-apart",
    tried="define a function in one run of a session and call it in the next",
    expected=["ok", 42],
    forms=EVERY,
    withheld=not_fresh,
)
async def a_session_keeps_what_its_runs_leave(execute: Execute) -> Any:
    """Variables and functions of one run of a session are there in the next."""
    first = await execute("x = 40\ndef more(): return x + 2", session="selfcheck-kept")
    return [first.status, await seen(execute, "seen = more()", session="selfcheck-kept")]


REACHED = """
import socket
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect("\\0gleitzeit-selfcheck")
        seen = client.recv(10).decode()
    except OSError as exc:
        seen = "out of reach"
seen = [seen, "secret" in globals()]
"""
OFFERED = """
import socket, threading
secret = "secret"
server = socket.socket(socket.AF_UNIX)
server.bind("\\0gleitzeit-selfcheck")
server.listen()
def give():
    while True:
        server.accept()[0].sendall(secret.encode())
threading.Thread(target=give, daemon=True).start()
"""


@AREA.check(
    "host network",
    proves="sessions-apart",
    tried="offer a variable of a session by a socket without a name in any file system, and ask for it from elsewhere",
    expected=[["secret", True], ["out of reach", False], ["out of reach", False]],
    withheld=not_fresh,
)
async def nobody_else_reaches_a_session(execute: Execute) -> Any:
    """Runs without the session, and other sessions, share neither variables nor a namespace with it."""
    await execute(OFFERED, session="selfcheck-own")
    own = await seen(execute, REACHED, session="selfcheck-own")
    return [own, await seen(execute, REACHED), await seen(execute, REACHED, session="selfcheck-other")]


@AREA.check(
    "no deadline",
    proves="sessions-apart",
    tried="run longer than allowed in a session, deaf to signals, with a process left behind, and look for all of it in the next run",
    expected=["timeout", -9, [False, [1]]],
    withheld=not_fresh,
)
async def a_deadline_ends_the_session(execute: Execute) -> Any:
    """A run that is too long is killed by the guest with everything in its session, and the next one begins anew."""
    code = "import os, signal, time\nleft = 1\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\ntime.sleep(60)"
    late = await execute(code, session="selfcheck-late", timeout=0.5)
    processes = "sorted(int(name) for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid())"
    return [late.status, late.exit_code, await seen(execute, f"seen = ['left' in globals(), {processes}]", session="selfcheck-late")]
