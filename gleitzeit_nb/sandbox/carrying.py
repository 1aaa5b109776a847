"""Files between the host and the work directory, as frames. Travels to the guest: standard library only, Python 3.8."""

from __future__ import annotations

import os

from gleitzeit_nb.sandbox import collecting, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gleitzeit_nb.sandbox.guest import Guest


def take(guest: Guest, files: list[tuple[str, int]], noted: bool) -> str:
    """Write the files that follow into the work directory as they come. Returns why one could not be written.

    `noted`: as they are now, they are not among what the code leaves.
    """
    fault = ""
    for name, size in files:
        descriptor = -1
        try:
            descriptor = -1 if fault else collecting.create(guest.work, name)
        except OSError as exc:
            fault = f"the file {name!r} could not be made there: {exc.strerror}"
        while size > 0:
            piece = guest.blob(min(size, protocol.BLOB_BYTES))
            size -= len(piece)
            try:
                while piece and not fault:
                    piece = piece[os.write(descriptor, piece) :]
            except OSError as exc:
                fault = f"the file {name!r} could not be written there: {exc.strerror}"
        if noted and not fault:
            guest.known[name] = collecting.mark(os.fstat(descriptor))
        if descriptor >= 0:
            os.close(descriptor)
    return fault


def send(guest: Guest, header: dict[str, Any]) -> None:
    """What the code left in its work directory, no faster than the host takes it."""
    room = header["artifact_bytes"]  # what is still written to in a session may have grown since it was measured
    for name, descriptor, reason in collecting.left_by_code(guest.work, guest.known, header["artifact_bytes"], header["artifact_files"]):
        if descriptor < 0:
            guest.post(protocol.json_frame(protocol.LEFT_OUT, {"name": name, "reason": reason}))
            continue
        guest.post(protocol.json_frame(protocol.FILE, {"name": name}))
        left = min(room, os.fstat(descriptor).st_size)
        while left > 0:
            piece = os.read(descriptor, min(left, protocol.CHUNK_BYTES))
            if not piece:
                break
            left, room = left - len(piece), room - len(piece)
            guest.post(protocol.frame(protocol.FILE_DATA, piece))
            while len(guest.outbox) > guest.outbox_bytes:
                guest.wait(guest.tick_s, [])
        os.close(descriptor)
