"""What Tab knows ahead of the engine: what the configured servers say, asked once in a while and in the background.

An engine starts with the first cell. Until then the first Tab that wants a model, an instance or a tag has the servers asked, and offers
what has come within a moment; the next one offers the rest.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import GleitzeitError

if TYPE_CHECKING:
    from gleitzeit_nb.config import Config
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.snapshot import InstanceView

logger = logging.getLogger("gleitzeit_nb.completion")

FIRST_S = 0.4  # for the first look: most of it is Python's, importing what asks
AGAIN_S = 0.03  # for a later one: what was said before has to do meanwhile
FRESH_S = 5.0


class LookAhead:
    """`config`: None as long as it was not read, or cannot be. Asked by one thread at a time; a look is written by its own."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._lock = threading.Lock()  # invariant: no look begins after `close`
        self._closed = False
        self._going: threading.Thread | None = None
        self._ended_at: float | None = None
        self._views: dict[str, InstanceView] = {}
        self.config: Config | None = None

    def instances(self) -> tuple[InstanceView, ...]:
        """What is known, after a moment for what is not."""
        going = self._going
        if going is None and (self._ended_at is None or time.monotonic() - self._ended_at > FRESH_S):
            going = self._going = threading.Thread(target=self._look, name="gleitzeit-look", daemon=True)
            going.start()
        if going is not None:
            going.join(FIRST_S if self._ended_at is None else AGAIN_S)
        return tuple(self._views.values())

    def close(self) -> None:
        """Ask nobody any more. A look that goes on ends with the runtime."""
        with self._lock:
            self._closed = True

    # -- on a thread of its own: reading the configuration may take a while, too ----------------------------------------------------

    def _look(self) -> None:
        try:
            self._ask()
        except (GleitzeitError, concurrent.futures.CancelledError) as error:  # the next cell fails with it, and says what to do
            logger.info("nobody is asked for models: %s", error)
            self.config, self._views = None, {}
        except Exception:
            logger.exception("looking for models failed")
        finally:
            self._ended_at, self._going = time.monotonic(), None

    def _ask(self) -> None:
        importlib.import_module("gleitzeit_nb.runtime")  # which takes its time, and `close` need not wait for it
        from gleitzeit_nb.glance import glance

        with self._lock:
            if self._closed:
                return
            runtime = self._front.runtime
        self.config = config = runtime.config()
        found: dict[str, InstanceView] = {}

        def see(view: InstanceView) -> None:
            found[view.id] = view
            if view.id not in self._views or view.state != "unknown":  # what was said before holds until more is
                self._views = {**self._views, view.id: view}

        runtime.submit(glance(config, see)).result()
        self._views = found
