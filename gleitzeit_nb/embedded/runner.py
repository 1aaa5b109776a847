"""The process of one loaded model: llama.cpp's server on a loopback port. It ends when its owner does.

Handshake: one JSON line on stdin (`RunnerOrder` as an object), one on stdout: {"ready": address} or {"failed": reason}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gleitzeit_nb.embedded.process import watch_owner

if TYPE_CHECKING:
    import xllamacpp

MODULE = "gleitzeit_nb.embedded.runner"
_BATCH = 512


@dataclass(frozen=True)
class RunnerOrder:
    """What to load. `num_ctx` is per slot. `key` is the bearer token that the server will ask for."""

    model: str
    slots: int
    num_ctx: int
    threads: int
    key: str
    embedding: bool
    owner_pid: int


def parameters(order: RunnerOrder) -> xllamacpp.CommonParams:
    """llama-server's settings: loopback only, keyed, no user interface, no downloads, no prompt cache beyond the slots."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = order.model
    params.port = 0
    params.api_keys = [order.key]
    params.cors_origins = "http://127.0.0.1"
    params.endpoint_slots = False  # it shows other callers' prompts
    params.ui = False
    params.offline = True
    params.warmup = False
    params.verbosity = 1  # errors, which the owner keeps for its message when the load fails
    params.cache_ram_mib = 0
    params.n_parallel = order.slots
    params.n_ctx = order.num_ctx * order.slots
    params.n_batch = params.n_ubatch = _BATCH
    params.embedding = order.embedding
    params.ctx_shift = not order.embedding
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = order.threads
    return params


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt of the owner's terminal is the owner's to handle
    order = RunnerOrder(**json.loads(sys.stdin.readline()))
    watch_owner(order.owner_pid, lambda: os._exit(0))
    try:
        import xllamacpp

        server = xllamacpp.Server(parameters(order))
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), flush=True)
        sys.stderr.flush()
        os._exit(3)
    print(json.dumps({"ready": server.listening_address}), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads stdout from here on; a full pipe would block
    threading.Event().wait()  # `server` must stay referenced; the owner watch ends the process
