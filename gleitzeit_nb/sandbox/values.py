"""Inputs and outputs of a run on the host's side: what can cross, and a sentence on what to do about what cannot."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gleitzeit_nb.errors import TransferError
from gleitzeit_nb.sandbox import codec, protocol
from gleitzeit_nb.sandbox.displays import DisplayReader
from gleitzeit_nb.sandbox.protocol import FrameError, FrameReader


def check_names(names: Iterable[str], direction: str) -> None:
    """Raises TransferError for a name that no variable can have. `direction` is "in" or "out", for the message."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise TransferError(f"{name!r} is no variable name, so no value can be passed {direction} under it.")


def encode_inputs(inputs: Mapping[str, Any], limit_bytes: int, packages: Iterable[str]) -> list[tuple[str, str, bytes]]:
    """(name, kind, data) of each input. `packages` are those that the guest has. Raises TransferError."""
    check_names(inputs, "in")
    return [(name, *_encode_input(name, value, limit_bytes, packages)) for name, value in inputs.items()]


def _encode_input(name: str, value: Any, limit_bytes: int, packages: Iterable[str]) -> tuple[str, bytes]:
    try:
        kind, data = codec.encode(value)
    except codec.CodecError as exc:
        raise TransferError(f"{name!r} cannot be passed into the sandbox as data: {exc}.") from exc
    needed = codec.NEEDS.get(kind)
    if needed is not None and needed not in packages:
        instead = "pass .tolist() instead" if needed == "numpy" else 'pass .to_dict("list") instead'
        raise TransferError(f"{name!r} needs {needed} inside the sandbox, and its image has none: {instead}, or take an image that has it.")
    if len(data) > limit_bytes:
        raise TransferError(
            f"{name!r} takes {len(data)} bytes, and a value may take {limit_bytes} (limit value_bytes). "
            "Pass a part of it, or raise the limit."
        )
    return kind, data


@dataclass
class Report:
    """What the code's process said about its run. All of it is the code's own word."""

    fault_type: str = ""
    traceback: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class ReportReader:
    """Reads the process's report as it comes. Malformed bytes end the reading, and `problem` says so; they never raise.

    `outputs` are the names that were asked for; whatever else the process sends is not kept. `displays` reads what it shows.
    """

    def __init__(self, outputs: Iterable[str], value_bytes: int, displays: DisplayReader) -> None:
        self.problem = ""
        self.displays = displays
        self._wanted = set(outputs)
        self._value_bytes = value_bytes
        self._frames = FrameReader(protocol.FROM_CODE)
        self._report = Report()
        self._value: tuple[str, str, int] | None = None  # name, kind, bytes to come in all
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        if self.problem:
            return
        try:
            for kind, payload in self._frames.feed(data):
                self._take(kind, payload)
        except FrameError as exc:
            self.problem = str(exc)

    def finish(self) -> Report:
        """Everything that came whole; a wanted output that did not is refused with the reason."""
        report = self._report
        reason = self.problem or "it did not come whole: the code closed or cut its report"
        for name in sorted(self._wanted - set(report.outputs) - set(report.refused)):
            report.refused[name] = reason
        return report

    def _take(self, kind: bytes, payload: bytes) -> None:
        if kind == protocol.DATA:
            (self.displays.take if self.displays.reading else self._take_data)(payload)
            return
        self.displays.cut()
        if self._value is not None:
            raise FrameError("a value was cut by another record")
        if kind in (protocol.DISPLAY, protocol.UNSHOWN):
            self._take_display(kind, payload)
            return
        content = protocol.json_payload(payload)
        if kind == protocol.FAULT:
            self._report.fault_type = _text(content, "type")
            self._report.traceback = _text(content, "text")
            return
        name = _text(content, "name")
        if name not in self._wanted or name in self._report.outputs or name in self._report.refused:
            raise FrameError(f"the output {name[:80]!r} was not asked for, or came twice")
        if kind == protocol.REFUSED:
            self._report.refused[name] = _text(content, "reason")
            return
        size = content.get("bytes")
        if type(size) is not int or not 0 <= size <= self._value_bytes:
            raise FrameError(f"the output {name!r} has an impossible size")
        self._value = (name, _text(content, "kind"), size)
        self._take_data(b"")

    def _take_display(self, kind: bytes, payload: bytes) -> None:
        """One that cannot be read costs itself, not what follows it."""
        try:
            content: Mapping[str, Any] = protocol.json_payload(payload)
        except FrameError:
            content = {}
        (self.displays.begin if kind == protocol.DISPLAY else self.displays.unshown)(content)

    def _take_data(self, payload: bytes) -> None:
        if self._value is None:
            raise FrameError("data came without a value")
        name, kind, size = self._value
        self._data += payload
        if len(self._data) > size:
            raise FrameError(f"the output {name!r} is larger than it said")
        if len(self._data) == size:
            data, self._value = bytes(self._data), None
            self._data.clear()
            self._decode(name, kind, data)

    def _decode(self, name: str, kind: str, data: bytes) -> None:
        try:
            self._report.outputs[name] = codec.decode(kind, data)
        except codec.CodecError as exc:
            self._report.refused[name] = str(exc)
        except ImportError as exc:
            self._report.refused[name] = f"reading it needs {exc.name} here: pip install {exc.name}"


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise FrameError(f"a record has no {name}")
    # Half surrogate pairs are legal JSON and would fail whoever prints or encodes the text.
    return value.encode("utf-8", "replace").decode("utf-8")
