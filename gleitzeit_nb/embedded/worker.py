"""The server process behind `EmbeddedInstance.launch`: orders and the token come over stdin, and it ends when stdin does.

One JSON line in (`ServerSettings` as an object, and the owner's process id), one out: {"url": …} or {"error": class, "message": …}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.embedded.process import watch_owner
from gleitzeit_nb.embedded.server import ServerSettings, listen, run, url_of
from gleitzeit_nb.errors import EmbeddedError

if TYPE_CHECKING:
    import uvicorn

MODULE = "gleitzeit_nb.embedded.worker"
_EXIT_LIMIT_S = 3.0


def main() -> None:
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    owner_pid = int(order.pop("owner_pid"))
    settings = ServerSettings(**{**order, "cache_dir": Path(order["cache_dir"])})

    def ready(server: uvicorn.Server) -> None:
        watch_owner(owner_pid, lambda: _stop(server))
        _say({"url": url})
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads stdout from here on

    try:
        listener = listen(settings.host, settings.port)
        url = url_of(listener)
        with listener:
            run(settings, listener, ready)
    except EmbeddedError as error:
        _say({"error": type(error).__name__, "message": str(error)})
        raise SystemExit(3) from None


def _say(value: dict[str, str]) -> None:
    print(json.dumps(value), flush=True)


def _stop(server: uvicorn.Server) -> None:
    """Orderly if that is quick; else at once. Children see the end of their own stdin either way."""
    server.should_exit = True
    timer = threading.Timer(_EXIT_LIMIT_S, lambda: os._exit(0))
    timer.daemon = True
    timer.start()
