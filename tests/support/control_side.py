"""A kernel that speaks the control comm's protocol, without an engine behind it: a cell's source, for tests of what a page does with it."""

from __future__ import annotations

import json

from gleitzeit_nb.jupyter.control.commands import COMMANDS
from gleitzeit_nb.snapshot import SCHEMA_VERSION, InstanceView, ModeView, Snapshot

# In the kernel: `heard` is what came, `mute` a set of commands that get no answer, `finish` an event that ends a restart of the pool.
# What is sent from a thread goes in the context of the message that asked: ipykernel hands a comm's messages to the subshell that it
# last published from.
_KERNEL_SIDE = """
import contextvars, json, threading
snapshot = json.loads({snapshot!r})
heard, mute, comms, views = [], set(), [], []
finish = threading.Event()

def answer(comm, data, kind, text, report=""):
    comm.send({{"type": kind, "of": data["type"], "request": data.get("request", ""), "text": text, "report": report}})

def publish():
    snapshot["seq"] += 1
    for view, context in views:
        context.copy().run(view.send, {{"type": "snapshot", "snapshot": snapshot}})

def restart(comm, data):
    finish.wait(60)
    answer(comm, data, "done", "The pool has begun anew.")

def obey(comm, data):
    if data["type"] in mute:
        return
    if data.get("instance") == "stubborn":
        answer(comm, data, "error", "It will not.")
    elif data["type"] == "restart_pool":
        answer(comm, data, "started", "Closing 3 instances.")
        threading.Thread(target=contextvars.copy_context().run, args=(restart, comm, data)).start()
    elif data["type"] == "diagnostics":
        answer(comm, data, "done", "Diagnostics.", "gleitzeit_nb: a test\\nkey: [redacted]")
    else:
        for instance in snapshot["instances"]:
            if data.get("instance") == instance["id"]:
                instance["draining"] = data["type"] == "drain"
        answer(comm, data, "done", f"{{data['type']}} was done.")
        threading.Thread(target=publish).start()

def on_open(comm, message):
    def on_message(message):
        data = message["content"]["data"]
        heard.append(data)
        if data["type"] == "hello":
            views.append((comm, contextvars.copy_context()))
            comm.send({{"type": "welcome", "version": "0", "answers_while_busy": True, "commands": {commands!r}}})
            threading.Thread(target=publish).start()
        else:
            obey(comm, data)
    comms.append(comm)
    comm.on_msg(on_message)
    comm.on_close(lambda _: views.clear())

get_ipython().kernel.comm_manager.register_target("gleitzeit_nb.control", on_open)
"""


def instance(name: str, **changes: object) -> InstanceView:
    values: dict[str, object] = {
        "id": name,
        "url": f"http://{name}.test:11434",
        "tags": ("cpu",),
        "state": "healthy",
        "reason": "",
        "draining": False,
        "breaker": "closed",
        "retry_in_s": None,
        "in_flight": 2,
        "max_concurrent": 5,
        "latency_s": 0.12,
        "error_rate": 0.001,
        "total_requests": 9,
        "failed_requests": 0,
        "tokens_per_s": (1.0, 2.0),
        "warm": (),
        "models": ("llama3.2",),
    }
    return InstanceView(**{**values, **changes})  # type: ignore[arg-type]


def listening(*instances: InstanceView, queued: int = 2, in_flight: int = 6, containers: int = 4) -> str:
    """The source of a cell that makes its kernel answer, with these instances."""
    modes = (ModeView("docker-sandbox", "Sandbox", 3, True, True, 3, 1, containers, 5, 212_000_000, ""),)
    state = Snapshot(SCHEMA_VERSION, 1, 1_700_000_000.0, instances, queued, in_flight, 63.0, modes, "docker-sandbox", containers, (), ())
    return _KERNEL_SIDE.format(snapshot=json.dumps(state.to_dict()), commands=list(COMMANDS))
