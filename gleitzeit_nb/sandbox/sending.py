"""One run as the frames that ask a guest for it."""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterable
from typing import Any

from gleitzeit_nb.core.execution import MIB, ExecutionRequest, Limits
from gleitzeit_nb.errors import TransferError
from gleitzeit_nb.sandbox import files, protocol
from gleitzeit_nb.sandbox.values import check_names, encode_inputs

REPORT_BYTES = 1 * MIB
INTERRUPT_S = 1.0  # a session's run may take so long to yield to an interrupt before its process is killed


def report_bytes(request: ExecutionRequest, limits: Limits) -> int:
    return len(request.outputs) * (limits.value_bytes + protocol.CHUNK_BYTES) + limits.display_bytes + REPORT_BYTES


def run_header(request: ExecutionRequest, limits: Limits) -> dict[str, Any]:
    return {
        "filename": request.filename,
        "timeout_s": limits.timeout_s,
        "output_bytes": limits.output_bytes,
        "result_bytes": report_bytes(request, limits),
        "value_bytes": limits.value_bytes,
        "display_bytes": limits.display_bytes,
        "html": request.trust_html,
        "artifacts": request.artifacts,
        "artifact_bytes": limits.workspace_bytes,
        "artifact_files": limits.workspace_inodes,
        "rlimits": {"CORE": 0, "FSIZE": limits.file_bytes, "NOFILE": limits.open_files},
        "outputs": list(request.outputs),
        "session": request.session is not None,
        "grace_s": INTERRUPT_S,
    }


def run_messages(
    header: dict[str, Any], request: ExecutionRequest, limits: Limits, packages: Iterable[str], own_python: bool = False
) -> list[bytes]:
    """The frames of a run: what, under which limits, then code and inputs in pieces. Raises TransferError."""
    check_names(request.outputs, "out")
    code = request.code.encode("utf-8", "surrogatepass")
    if len(code) > protocol.MAX_CODE_BYTES:
        raise TransferError(
            f"The code has {len(code)} bytes, and at most {protocol.MAX_CODE_BYTES} are run at once. Pass data as inputs instead of source."
        )
    inputs = encode_inputs(request.inputs, limits.value_bytes, packages)
    header["inputs"] = [{"name": name, "kind": kind} for name, kind, _ in inputs]
    contents = files.read(request.files, limits)
    header["blobs"] = [len(code), *(len(data) for _, _, data in inputs)]
    header["files"] = [(name, len(content)) for name, content in contents.items()]
    content = json.dumps(header).encode("ascii")
    if own_python:
        content = marshal.dumps((json.loads(content),))
    if len(content) > protocol.TO_GUEST[protocol.RUN]:
        raise TransferError("The run names too many inputs and outputs. Pass them together, as one dictionary or DataFrame.")
    messages = [protocol.frame(protocol.RUN, content)]
    for data in (code, *(data for _, _, data in inputs), *contents.values()):
        messages += protocol.chunks(protocol.BLOB, data, protocol.BLOB_BYTES)
    if len(messages) == 2:  # the usual case: one write instead of two
        messages = [b"".join(messages)]
    return messages
