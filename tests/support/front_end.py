"""A front end's half of comms and widgets, against a real kernel: messages sent where a page would send them, and all that comes back."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.kernel import Kernel

LIMIT_S = 60.0


@dataclass(frozen=True)
class Heard:
    """A message of the kernel: when it came (s, monotonic), and what it says."""

    at: float
    kind: str
    content: dict[str, Any]
    parent: str


class FrontEnd:
    """Keeps every message on the public channel in `heard`. `subshell`: what it sends goes there, as JupyterLab does it for comms."""

    def __init__(self, kernel: Kernel) -> None:
        self._client = kernel.client
        self.heard: list[Heard] = []
        self.subshell = self._make_subshell()

    def _make_subshell(self) -> str | None:
        """None where the kernel has none (ipykernel 6)."""
        request = self._client.session.msg("create_subshell_request", {})
        self._client.control_channel.send(request)
        try:
            reply = self._client.get_control_msg(timeout=10)
        except queue.Empty:
            return None
        subshell: str | None = reply["content"].get("subshell_id")
        return subshell

    def end_subshell(self) -> None:
        """As a page that goes away does it; what it sends comes to the main shell from now on."""
        subshell, self.subshell = self.subshell, None
        self._client.control_channel.send(self._client.session.msg("delete_subshell_request", {"subshell_id": subshell}))
        assert self._client.get_control_msg(timeout=LIMIT_S)["content"]["status"] == "ok"

    def listen(self, for_s: float = 0.0) -> None:
        """Take in what comes for that long, and all that has come already."""
        end = time.monotonic() + for_s
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=max(0.01, min(0.1, end - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= end:
                    return
                continue
            parent = message["parent_header"].get("msg_id", "")
            self.heard.append(Heard(time.monotonic(), message["msg_type"], message["content"], parent))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < end, f"waited {LIMIT_S:.0f} s for {what}; heard {self.heard[-5:]}"
            self.listen(0.05)

    # -- cells ------------------------------------------------------------------------------------------------------------------

    def start(self, code: str) -> str:
        """Execute without waiting; the name of the request."""
        return str(self._client.execute(code))

    def ended(self, name: str) -> bool:
        return any(h.parent == name and h.kind == "status" and h.content["execution_state"] == "idle" for h in self.heard)

    def run(self, code: str) -> str:
        """Execute to the end; what it printed."""
        name = self.start(code)
        self.until(lambda: self.ended(name), f"the end of {code!r}")
        errors = [h.content for h in self.heard if h.parent == name and h.kind == "error"]
        assert errors == [], errors
        return "".join(h.content["text"] for h in self.heard if h.parent == name and h.kind == "stream")

    def result(self, name: str) -> dict[str, Any]:
        """The value of a cell, by type."""
        [data] = [h.content["data"] for h in self.heard if h.parent == name and h.kind == "execute_result"]
        return dict(data)

    # -- comms ------------------------------------------------------------------------------------------------------------------

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        message = self._client.session.msg(kind, content)
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        self._client.shell_channel.send(message)

    def open(self, target: str) -> str:
        comm = uuid.uuid4().hex
        self._send("comm_open", {"comm_id": comm, "target_name": target, "data": {}})
        return comm

    def send(self, comm: str, data: Any) -> None:
        self._send("comm_msg", {"comm_id": comm, "data": data})

    def close(self, comm: str) -> None:
        self._send("comm_close", {"comm_id": comm, "data": {}})

    def said(self, comm: str) -> list[Any]:
        """What the kernel sent on that comm, oldest first."""
        return [h.content["data"] for h in self.heard if h.kind == "comm_msg" and h.content["comm_id"] == comm]

    # -- widgets ----------------------------------------------------------------------------------------------------------------

    def widget(self, **state: Any) -> str:
        """The newest widget that was made with this state."""
        made = [
            h.content["comm_id"]
            for h in self.heard
            if h.kind == "comm_open" and state.items() <= {**h.content["data"].get("state", {})}.items()
        ]
        assert made, f"no widget was made with {state}"
        return str(made[-1])

    def values(self, comm: str) -> list[Heard]:
        """The messages that set a widget's `value`."""
        return [
            h for h in self.heard if h.kind == "comm_msg" and h.content["comm_id"] == comm and "value" in h.content["data"].get("state", {})
        ]

    def click(self, button: str) -> None:
        self.send(button, {"method": "custom", "content": {"event": "click"}})

    def set(self, widget: str, **state: Any) -> None:
        self.send(widget, {"method": "update", "state": state, "buffer_paths": []})
