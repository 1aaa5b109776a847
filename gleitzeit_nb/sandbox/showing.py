"""What a notebook would show of a value, made where the value is: text, a table, a picture. Never code for a browser, unless asked.

Travels to the guest: standard library only, Python 3.8. It shares the process with the code, so that nobody trusts what it sends:
the host checks every record again.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import sys
import time
from _thread import RLock

from gleitzeit_nb.sandbox import protocol, tabulating

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from typing import Any

MATPLOTLIB, PYPLOT = "matplotlib", "matplotlib.pyplot"
TEXT_CHARS = 64 << 10
PRETTY_CHARS = 20_000  # a longer text is not set line by line, which takes its time
LINE_CHARS = 79
FIONREAD = 0x541B  # asm-generic/ioctls.h: how many bytes wait in a pipe
IN_ORDER_S = 0.3  # how long a display waits for what was printed before it to be read, and for itself

MIMES = {"image/png": "png", "image/jpeg": "jpeg", "image/svg+xml": "svg", "text/html": "html", "text/plain": "text"}
METHODS = {"_repr_png_": "png", "_repr_jpeg_": "jpeg", "_repr_svg_": "svg", "_repr_html_": "html"}
NO_METHOD = "_no_such_method_of_a_notebook_"  # who has this one answers to every name


class Screen:
    """Shows values by the report, within the allowance of the run. `html`: the caller trusts the code's own HTML."""

    def __init__(self, send: Callable[[bytes], None], most_bytes: int, html: bool) -> None:
        self.unshown = 0
        self._send = send
        self._left = most_bytes
        self._count = 0
        self._html = html
        self._pid = os.getpid()
        self._lock = RLock()
        self._finders: list[AfterImport] = []
        self._drawn: set[int] = set()  # figures that were shown by name: not once more at the end

    def install(self) -> None:
        """`display`, the value of the last expression, and figures, as a notebook has them."""
        builtins.display = self.display  # type: ignore[attr-defined]
        sys.displayhook = self.hook
        for name, change in ((MATPLOTLIB, _draw_in_memory), (PYPLOT, self._own_show)):
            if name in sys.modules:
                change(sys.modules[name])
            else:
                self._finders.append(AfterImport(name, change))
                sys.meta_path.insert(0, self._finders[-1])

    def hook(self, value: Any) -> None:
        """The value of an expression, as sys.displayhook gets it."""
        if value is not None:
            builtins._ = value  # type: ignore[attr-defined]
            self.show(value, True)

    def display(self, *values: Any, **_: Any) -> None:
        """Show values, as in a notebook. Options of a notebook's display are accepted and have no effect."""
        for value in values:
            self.show(value, False)

    def show(self, value: Any, is_value: bool) -> None:
        if os.getpid() != self._pid:  # a forked process: two writers would garble one report
            print(_text(value))  # noqa: T201
            return
        if self._count >= protocol.MAX_DISPLAYS:
            self.unshown += 1
            return
        parts = parts_of(value, self._html)
        if _is_figure(value):
            self._drawn.add(id(value))
        size = sum(len(data) for _, data in parts)
        if size > self._left:
            parts = [part for part in parts if part[0] == "text"]
            size = sum(len(data) for _, data in parts)
            self.unshown += 1
        with self._lock:
            if size > self._left:
                return
            self._left -= size
            self._count += 1
            self._put(parts, is_value)

    def _put(self, parts: list[tuple[str, bytes]], is_value: bool) -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                continue  # the code replaced or closed the stream: then nothing of it waits here
        give_up = time.monotonic() + IN_ORDER_S
        for fd in (1, 2):
            _wait_until_read(fd, give_up)
        header = {"value": is_value, "parts": [[kind, len(data)] for kind, data in parts]}
        self._send(protocol.json_frame(protocol.DISPLAY, header))
        for _, data in parts:
            for piece in protocol.chunks(protocol.DATA, data, protocol.BLOB_BYTES):
                self._send(piece)
        _wait_until_read(protocol.REPORT_FD, give_up)

    # -- figures ----------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """At the end of the code: its open figures, and how much was not shown."""
        if os.getpid() != self._pid:
            return
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in self._finders]  # a session's next run has its own
        self.show_figures()
        if self.unshown:
            self._send(protocol.json_frame(protocol.UNSHOWN, {"count": self.unshown}))

    def show_figures(self) -> None:
        """Every open figure, once, and then it is closed; in place of pyplot's own `show`, which has no window here."""
        pyplot: Any = sys.modules.get(PYPLOT)
        if pyplot is None or not hasattr(pyplot, "get_fignums"):
            return
        try:
            for number in pyplot.get_fignums():
                figure = pyplot.figure(number)
                if id(figure) not in self._drawn:
                    self.show(figure, False)
            pyplot.close("all")
        except Exception as exc:
            _tell(exc)
        self._drawn.clear()

    def _own_show(self, pyplot: Any) -> None:
        def show(*_: Any, **__: Any) -> None:
            """Show the open figures, and close them."""
            self.show_figures()

        pyplot.show = show  # a function: pyplot gives it a signature


def parts_of(value: Any, html: bool) -> list[tuple[str, bytes]]:
    """(kind, data) of everything that a value can be shown as; text is always there, and first."""
    parts = {"text": _utf8(_text(value)) or b" "}
    try:
        table = tabulating.table_of(value)
        if table is not None:
            import json

            parts["table"] = json.dumps(table).encode("ascii")
        if _is_figure(value):
            parts["png"] = _drawing(value)
        elif not isinstance(value, type) and getattr(value, NO_METHOD, None) is None:
            parts.update(_rich(value, html))
    except Exception as exc:  # as in a notebook: a fault in drawing is told, and the text is shown
        _tell(exc)
    return [(kind, data) for kind, data in parts.items() if kind == "text" or len(data) <= protocol.PART_BYTES]


def _rich(value: Any, html: bool) -> dict[str, bytes]:
    """What the value's own methods say, as notebooks ask them."""
    found: dict[str, Any] = {}
    bundle = getattr(value, "_repr_mimebundle_", None)
    if callable(bundle):
        said = bundle(include=None, exclude=None)
        said = said[0] if isinstance(said, tuple) else said
        found.update((MIMES[mime], data) for mime, data in (said or {}).items() if mime in MIMES)
    for name, kind in METHODS.items():
        method = getattr(value, name, None)
        if kind not in found and callable(method) and (html or kind != "html"):
            found[kind] = method()
    if not html:
        found.pop("html", None)
    parts = {kind: _bytes(kind, data[0] if isinstance(data, tuple) else data) for kind, data in found.items() if data is not None}
    return {kind: data for kind, data in parts.items() if data}


def _bytes(kind: str, data: Any) -> bytes:
    if isinstance(data, str):
        import base64

        return base64.b64decode(data) if kind in ("png", "jpeg") else _utf8(data[:TEXT_CHARS] if kind == "text" else data)
    return bytes(data) if isinstance(data, (bytes, bytearray, memoryview)) else b""


def _is_figure(value: Any) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, getattr(module, "Figure", ()))


def _draw_in_memory(matplotlib: Any) -> None:
    """There is no window here; and looking for one takes its time."""
    matplotlib.rcParams["backend"] = "agg"


def _drawing(figure: Any) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    return picture.getvalue()


def _tell(exc: BaseException) -> None:
    """To stderr, without the frames of the guest above the code's own."""
    import traceback

    trace = exc.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith("<gleitzeit_nb."):
        trace = trace.tb_next
    traceback.print_exception(type(exc), exc, trace)


def _text(value: Any) -> str:
    text = repr(value)
    if type(value) in (dict, list, tuple, set, frozenset) and LINE_CHARS < len(text) <= PRETTY_CHARS:
        import pprint

        text = pprint.pformat(value, width=LINE_CHARS, sort_dicts=False)
    if len(text) > TEXT_CHARS:
        half = TEXT_CHARS // 2
        text = f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
    return text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _wait_until_read(fd: int, give_up: float) -> None:
    """Until the guest has taken what waits in a pipe: it reads three pipes, and what came first shall be shown first."""
    pause_s = 0.00005
    try:
        while int.from_bytes(fcntl.ioctl(fd, FIONREAD, b"\0\0\0\0"), sys.byteorder) and time.monotonic() < give_up:
            time.sleep(pause_s)
            pause_s *= 1.5
    except OSError:
        return  # the code put something else there: nobody else reads it either


class AfterImport:
    """Calls `then` with a module once it was imported."""

    def __init__(self, name: str, then: Callable[[types.ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                execute(module)
                self._then(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
