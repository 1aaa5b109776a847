"""The kernel's half of the control comm in a few lines, without an engine: a notebook's cell that shows any snapshot and hears any command.

hello brings the snapshot, sent from a thread as the engine does, in the context of the message that asked (ipykernel hands a comm's
messages to the subshell that it last published from). drain and resume change it. What a command names decides the answer: "stubborn"
is refused, "slow" is begun and ended by `finish()`, "silent" is never answered; everything else is done.
"""

from __future__ import annotations

import json
from dataclasses import replace

from playwright.sync_api import Locator

from gleitzeit_nb.snapshot import Snapshot
from tests.support.lab import NotebookPage

_KERNEL_SIDE = """
import contextvars, json, threading
snapshot = json.loads({snapshot!r})
heard, views, unfinished = [], [], []

def publish(fresh=None):
    if fresh is not None:
        snapshot.clear()
        snapshot.update(json.loads(fresh))
    snapshot["seq"] += 1
    for comm, context in views:
        context.copy().run(comm.send, {{"type": "snapshot", "snapshot": snapshot}})

def greet(free=True):
    for comm, context in views:
        welcome = {{"type": "welcome", "version": "0", "answers_while_busy": free, "commands": []}}
        context.copy().run(comm.send, welcome)

def answer(comm, context, outcome, data, text):
    words = {{"of": data["type"], "request": data.get("request", ""), "text": text, "report": ""}}
    context.copy().run(comm.send, {{"type": outcome, **words}})

def obey(comm, context, data):
    target = next((data[name] for name in ("instance", "run", "container", "session") if name in data), "")
    for instance in snapshot["instances"]:
        if target == instance["id"] and data["type"] in ("drain", "resume"):
            instance["draining"] = data["type"] == "drain"
    if target == "silent":
        return
    if target == "slow":
        answer(comm, context, "started", data, "It takes a while.")
        unfinished.append(lambda: answer(comm, context, "done", data, "It is done at last."))
    elif target == "stubborn":
        answer(comm, context, "error", data, "It will not.")
    else:
        answer(comm, context, "done", data, f"{{data['type']}} {{target}}: done.")
    publish()

def finish():
    while unfinished:
        unfinished.pop()()

def on_open(comm, message):
    def on_message(message):
        data = message["content"]["data"]
        heard.append({{name: value for name, value in data.items() if name != "request"}})
        context = contextvars.copy_context()
        if data["type"] == "hello":
            views.append((comm, context))
            greet()
            threading.Thread(target=publish).start()
        else:
            threading.Thread(target=obey, args=(comm, context, data)).start()
    comm.on_msg(on_message)

get_ipython().kernel.comm_manager.register_target("gleitzeit_nb.control", on_open)
"""


def as_json(snapshot: Snapshot) -> str:
    return json.dumps(snapshot.to_dict())


def speaking_cell(snapshot: Snapshot) -> str:
    """A cell after which the kernel answers the panel with this snapshot."""
    return _KERNEL_SIDE.format(snapshot=as_json(replace(snapshot, seq=0)))


def tell(notebook: NotebookPage, code: str) -> None:
    """Runs that in the kernel without a cell of the notebook, whose run would take the focus."""
    notebook.page.evaluate(
        """code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code, store_history: false }).done
            .then(reply => { if (reply.content.status !== 'ok') throw new Error(reply.content.evalue); })""",
        code,
    )


def show(notebook: NotebookPage, snapshot: Snapshot) -> None:
    """Another snapshot."""
    tell(notebook, f"publish({as_json(snapshot)!r})")


def choose(panel: Locator, row: str, label: str) -> None:
    """An entry of a row's menu."""
    panel.get_by_role("button", name=f"Actions for {row}").click()
    panel.page.locator(".lm-Menu-itemLabel", has_text=label).click()
