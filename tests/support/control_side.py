"""The kernel's half of the control comm in a few lines, without an engine: a notebook's cell that shows any snapshot and hears any command.

tests/jupyter/test_control_side.py holds it to the real one: it greets, refuses what it has not, answers in the same form and changes its
snapshot in the same way. Three names are its own, to see what a page does with it: what is called "stubborn" is refused, "slow" is begun
and ended by `finish()`, "silent" is never answered. `restart_pool` is slow too.
"""

from __future__ import annotations

import json
from dataclasses import replace

from playwright.sync_api import Locator

from gleitzeit_nb.jupyter.control.commands import COMMANDS, FIELDS
from gleitzeit_nb.snapshot import InstanceView, Snapshot
from tests.support.lab import NotebookPage
from tests.support.snapshots import MOCK_UP

# What is sent from a thread goes in the context of the message that asked: ipykernel hands a comm's messages to the subshell that it last
# published from. It imports nothing of the package, which need not be there.
_KERNEL_SIDE = """
import contextvars, json, re, threading
snapshot = json.loads({snapshot!r})
fields, commands = {fields!r}, {commands!r}
heard, comms, views, unfinished = [], [], [], []

def publish(fresh=None):
    if fresh is not None:
        snapshot.clear()
        snapshot.update(json.loads(fresh))
    snapshot["seq"] += 1
    for comm, context in views:
        context.copy().run(comm.send, {{"type": "snapshot", "snapshot": snapshot}})

def greet(free=True):
    for comm, context in views:
        welcome = {{"type": "welcome", "version": "0", "answers_while_busy": free, "cell_s": None, "commands": commands}}
        context.copy().run(comm.send, welcome)

def answer(comm, context, outcome, data, text, report=""):
    words = {{"of": data["type"], "request": data.get("request", ""), "text": text, "report": report}}
    context.copy().run(comm.send, {{"type": outcome, **words}})

LISTS = {{"instance": ("instances", "id"), "run": ("runs", "id"), "container": ("container_list", "id"), "session": ("sessions", "name")}}

def rows(name):
    return snapshot[LISTS[name][0]]

def has(data, name):
    return any(each[LISTS[name][1]] == data[name] for each in rows(name))

def change(data):
    kind = data["type"]
    for instance in snapshot["instances"]:
        if instance["id"] == data.get("instance"):
            if kind in ("drain", "resume"):
                instance["draining"] = kind == "drain"
            if kind in ("warm", "unload"):
                instance["warm"] = [each for each in instance["warm"] if each["name"] != data["model"]]
            if kind == "warm":
                unknown = dict.fromkeys(("gpu_share", "vram_bytes", "size_bytes", "expires_at"))
                instance["warm"].append({{"name": data["model"], **unknown}})
    for kind, name in (("cancel", "run"), ("stop_container", "container"), ("reset_session", "session")):
        if data["type"] == kind:
            rows(name)[:] = [each for each in rows(name) if each[LISTS[name][1]] != data[name]]
    snapshot["runs_total"] = len(snapshot["runs"])

def do(comm, context, data, target):
    change(data)
    report = "gleitzeit_nb: a test\\nkey: [redacted]" if data["type"] == "diagnostics" else ""
    answer(comm, context, "done", data, f"{{data['type']}} {{target}}: done." if target else f"{{data['type']}}: done.", report)
    publish()

def obey(comm, context, data):
    named = [name for name in fields[data["type"]] if name in LISTS]
    target = data[named[0]] if named else ""
    if target == "silent":
        return
    if named and (target == "stubborn" or not has(data, named[0])):
        text = "It will not." if target == "stubborn" else f"This kernel has no {{named[0]}} {{target!r}}."
        answer(comm, context, "error", data, text)
    elif target == "slow" or data["type"] == "restart_pool":
        answer(comm, context, "started", data, "It takes a while.")
        unfinished.append(lambda: do(comm, context, data, target))
    else:
        if data["type"] in ("reload", "diagnostics"):
            answer(comm, context, "started", data, "It takes a moment.")
        do(comm, context, data, target)

def finish():
    while unfinished:
        unfinished.pop()()

def are_ids(ids):
    return isinstance(ids, list) and len(ids) <= 200 and all(isinstance(each, str) and re.fullmatch("[0-9a-f]{{32}}", each) for each in ids)

def is_command(data, kind):
    return (
        isinstance(kind, str) and kind in fields and set(data) - {{"request"}} == {{"type", *fields[kind]}}
        and all(isinstance(data[name], str) and 0 < len(data[name]) <= 1000 for name in fields[kind])
        and (isinstance(data.get("request", "x"), str) and re.fullmatch("[A-Za-z0-9_-]{{1,64}}", data.get("request", "x")) is not None)
    )

def on_open(comm, message):
    def on_message(message):
        data = message["content"]["data"]
        context = contextvars.copy_context()
        kind = data.get("type") if isinstance(data, dict) else None
        if kind == "outputs" and set(data) == {{"type", "ids"}} and are_ids(data["ids"]):
            context.copy().run(comm.send, {{"type": "outputs", "outputs": []}})  # no cell's output goes on here
            return
        if not is_command(data, kind):
            answer(comm, context, "error", {{"type": kind if isinstance(kind, str) and kind in fields else ""}}, "That is no command.")
            return
        heard.append({{name: value for name, value in data.items() if name != "request"}})
        if kind == "hello":
            views.append((comm, context))
            greet()
            threading.Thread(target=publish).start()
        else:
            threading.Thread(target=obey, args=(comm, context, data)).start()
    comms.append(comm)
    comm.on_msg(on_message)
    comm.on_close(lambda _: views.clear())

get_ipython().kernel.comm_manager.register_target("gleitzeit_nb.control", on_open)
"""


def as_json(snapshot: Snapshot) -> str:
    return json.dumps(snapshot.to_dict())


def speaking_cell(snapshot: Snapshot) -> str:
    """A cell after which the kernel answers the panel with this snapshot."""
    fields = {kind: list(names) for kind, names in FIELDS.items()}
    return _KERNEL_SIDE.format(snapshot=as_json(replace(snapshot, seq=0)), fields=fields, commands=list(COMMANDS))


def listening(*instances: InstanceView) -> str:
    """The same for the pool of the mock-up with these instances, in which nothing goes on that would have to end."""
    return speaking_cell(replace(MOCK_UP, instances=instances, runs=(), runs_total=0))


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
