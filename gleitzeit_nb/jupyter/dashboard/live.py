"""The live dashboard: one picture that is replaced when something changed, and a few controls of their own.

The picture is one HTML widget, fed from the engine's thread: one message per change, at most four a second, so it moves while a cell
runs. Replacing it would lose a selection of text in it, and widgets cannot tell a kernel of one: where the JupyterLab extension is
installed, that holds the picture still while text is selected (labextension/src/panel/selection.ts); elsewhere the Pause button does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gleitzeit_nb.errors import GleitzeitError
from gleitzeit_nb.jupyter.dashboard import markup
from gleitzeit_nb.jupyter.display.redraw import Redraw
from gleitzeit_nb.rendering.text import status_text
from gleitzeit_nb.rendering.words import summary

if TYPE_CHECKING:
    from gleitzeit_nb.engine import Engine
    from gleitzeit_nb.jupyter.dashboard.markup import Pill
    from gleitzeit_nb.jupyter.dashboard.widgets import DashboardWidgets
    from gleitzeit_nb.runtime import Runtime
    from gleitzeit_nb.snapshot import Snapshot

PICTURE_BYTES = 20_000  # of a picture in pieces are sent at once: three times a second is as often as that may be
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
BYTES_PER_S = 60_000  # its share of the 250 kB/s that a kernel may show, beside a streamed answer and the side panel


class Dashboard:
    """Wherever it is displayed, the same widgets are shown. `close()` ends it everywhere; so does the end of the runtime.

    `in_kernel`: whether a front end listens; None: found out when it is first displayed. A terminal gets text.
    """

    def __init__(self, runtime: Runtime, *, in_kernel: bool | None = None) -> None:
        self._runtime = runtime
        self._engine: Engine = runtime.engine
        self._latest: Snapshot = self._engine.snapshot()
        self._in_kernel = in_kernel
        self._pill: Pill = "live"
        self._widgets: DashboardWidgets | None = None
        self._redraw = Redraw(self._draw, BYTES_PER_S)
        self._endings: list[Callable[[], None]] = [runtime.on_engine(self._engine_moved)]

    def __repr__(self) -> str:
        return f"<Dashboard {self._pill}: {summary(self._latest)}>"

    @property
    def closed(self) -> bool:
        """It will not change any more."""
        return self._pill == "stopped"

    def close(self) -> None:
        """Take it away from everywhere it is shown. Safe to call twice, from any thread."""
        self._stop()
        widgets, self._widgets = self._widgets, None
        if widgets is not None:
            widgets.close()

    def _stop(self) -> None:
        self._pill = "stopped"
        self._redraw.end()
        endings, self._endings = self._endings, []
        for end in endings:
            end()

    # -- displayed ----------------------------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """The live view; and for readers without widgets (saved notebooks, exported pages, terminals) a picture and a text of now."""
        if not self.closed:
            self._latest = self._engine.snapshot()
        text = {"text/plain": status_text(self._latest)}
        if not self._shows_widgets():
            return text
        bundle: dict[str, Any] = {**text, "text/html": markup.static(self._latest)}
        if not self.closed:
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self._live().model_id}
        return bundle

    def _shows_widgets(self) -> bool:
        if self._in_kernel is None:
            from IPython.core.getipython import get_ipython

            self._in_kernel = getattr(get_ipython(), "kernel", None) is not None
        return self._in_kernel

    def _live(self) -> DashboardWidgets:
        """The widgets, made when they are first shown; from then on they follow the engine."""
        if self._widgets is None:
            from gleitzeit_nb.jupyter.dashboard.widgets import DashboardWidgets

            self._widgets = DashboardWidgets(self._set_paused, self._steer)
            self._widgets.show(markup.live(self._latest, self._pill))
            self._widgets.offer([view.id for view in self._latest.instances])
            self._endings.append(self._engine.watch(self._changed))
        return self._widgets

    # -- on the engine's loop -------------------------------------------------------------------------------------------------

    def _changed(self, snapshot: Snapshot) -> None:
        known = [view.id for view in self._latest.instances]
        self._latest = snapshot
        ids = [view.id for view in snapshot.instances]
        if self._widgets is not None and ids != known:
            self._widgets.offer(ids)
        if self._pill == "live":
            self._redraw.ask()

    def _draw(self) -> int:
        widgets = self._widgets  # which may be taken away meanwhile
        if widgets is None:
            return 0
        pieces = markup.live(self._latest, self._pill)
        sent = widgets.show(pieces, PICTURE_BYTES)
        if widgets.lags(pieces):
            asyncio.get_running_loop().call_soon(self._redraw.ask)  # the rest follows as soon as the pace allows it
        return sent

    async def _ask(self) -> None:
        self._redraw.ask()

    async def _steered(self, command: str, instance: str) -> None:
        try:
            pool = self._engine.pool
            await (pool.drain(instance) if command == "drain" else pool.resume(instance))
        except GleitzeitError as error:
            said = str(error)
        else:
            said = f"{instance} gets nothing new." if command == "drain" else f"{instance} gets work again."
        widgets = self._widgets
        if widgets is not None:
            widgets.say(said)

    # -- on the thread that a front end's message, or the end of the engine, comes in on -------------------------------------------

    def _set_paused(self, paused: bool) -> None:
        if not self.closed:
            self._pill = "paused" if paused else "live"
            self._runtime.submit(self._ask())

    def _steer(self, command: str, instance: str) -> None:
        if not self.closed:
            self._runtime.submit(self._steered(command, instance))

    def _engine_moved(self, engine: Engine | None) -> None:
        """The last picture stays, and says that it is the last."""
        if engine is self._engine or self.closed:
            return
        self._stop()
        if self._widgets is not None:
            self._widgets.show(markup.live(self._latest, "stopped"))
            self._widgets.disable()
