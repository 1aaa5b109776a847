"""What code in the restricted mode can see and touch, in every form that this machine can hold."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.restricted.attempts import ATTEMPT
from tests.sandbox.restricted.conftest import Maker
from tests.sandbox.restricted.held_guest import FORMS, SECRET, SOURCE, STRONG, Environment, HeldGuest

HOME = Path.home()
WEAKER = ("root-weaker", "user-weaker")

in_full = pytest.mark.parametrize("guest", STRONG, indirect=True)
weaker = pytest.mark.parametrize("guest", WEAKER, indirect=True)
weaker_as_user = pytest.mark.parametrize("guest", ["user-weaker"], indirect=True)
as_root = pytest.mark.parametrize("guest", ["root", "root-weaker"], indirect=True)


# -- who it is ----------------------------------------------------------------------------------------------------------------


def test_it_runs_and_finds_what_was_promised(guest: HeldGuest) -> None:
    assert guest.run("print(6 * 7)")["stdout"] == "42\n"
    facts = guest.launch()["facts"]
    assert (facts["no_new_privs"], facts["seccomp"], facts["capabilities_effective"], facts["dumpable"]) == (1, 2, 0, 0)


@in_full
def test_in_full_it_is_process_1_without_any_capability_on_a_read_only_root(guest: HeldGuest) -> None:
    launched = guest.launch()
    facts = launched["facts"]
    assert (facts["pid"], facts["capabilities_bounding"], facts["read_only_root"]) == (1, 0, True)
    assert set(facts["interfaces"]) <= {"lo"}
    assert launched["weaker"] == ""
    assert guest.value("import json, socket; print(json.dumps(socket.gethostname()))") == "sandbox"


def test_seen_from_the_machine_nothing_of_it_is_root(guest: HeldGuest) -> None:
    launched = guest.launch()
    pids = set(guest.processes())
    if guest.form == "root-weaker":
        pids.remove(launched["pid"])  # its supervisor, which runs no line of the code
    assert pids
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        assert set(status.split("\nUid:", 1)[1].split("\n")[0].split()) == {str(launched["facts"]["uid"])}
    assert launched["facts"]["uid"] != 0


@as_root
def test_as_root_each_guest_has_a_user_of_its_own_that_nobody_else_is(guest: HeldGuest, make_guest: Maker) -> None:
    users = [each.launch()["facts"]["uid"] for each in (guest, make_guest(guest.form))]
    assert len(set(users)) == 2
    for uid in users:
        assert uid > 60_000
        with pytest.raises(KeyError):
            pwd.getpwuid(uid)


def test_the_isolation_line_names_every_layer_and_what_is_not_bounded(guest: HeldGuest) -> None:
    launched = guest.launch()
    assert "landlock ABI" in launched["isolation"]
    assert "seccomp" in launched["isolation"]
    assert ("bubblewrap" in launched["isolation"]) == (guest.form in STRONG)
    assert ("cgroup memory" in launched["isolation"]) != ("not in total" in launched["isolation"])
    assert ("no namespaces" in launched["weaker"]) == (guest.form in WEAKER)


# -- what it can see ------------------------------------------------------------------------------------------------------------


def test_no_file_of_the_host_can_be_read_written_or_taken(guest: HeldGuest, canary: Path) -> None:
    outcome = guest.value(
        ATTEMPT
        + f"""
folder = {str(canary)!r}
show({{
    "shadow": attempt(lambda: open("/etc/shadow").read()),
    "passwd": attempt(lambda: open("/etc/passwd").read()),
    "homes": attempt(lambda: os.listdir("/home")),
    "profile": attempt(lambda: open({str(HOME / ".profile")!r}).read()),
    "canary": attempt(lambda: open(folder + "/file").read()),
    "listing": attempt(lambda: os.listdir(folder)),
    "writing": attempt(lambda: open(folder + "/file", "a").write("x")),
    "making": attempt(lambda: open(folder + "/new", "w")),
    "linking": attempt(lambda: os.link(folder + "/file", "stolen")),
    "moving": attempt(lambda: os.rename(folder + "/file", "stolen")),
    "cutting": attempt(lambda: os.truncate(folder + "/file", 0)),
    "removing": attempt(lambda: os.unlink(folder + "/file")),
    "source": attempt(lambda: os.listdir({str(SOURCE)!r})),
    "log": attempt(lambda: os.listdir("/var/log")),
    "sys": attempt(lambda: os.listdir("/sys/kernel")),
    "run": attempt(lambda: os.listdir("/run")),
}})"""
    )
    assert "done" not in outcome.values(), outcome
    assert (canary / "file").read_text() == "the host's own\n"
    assert [path.name for path in canary.iterdir()] == ["file"]


def test_of_a_home_in_which_the_python_lies_nothing_else_is_there(guest: HeldGuest) -> None:
    asked = f"import json, os; print(json.dumps([each for each in {sorted(os.listdir(HOME))!r} if os.access('{HOME}/' + each, os.R_OK)]))"
    prefixes = map(Path, (sys.base_prefix, sys.prefix))  # the weaker form shows a virtual environment where it is
    led_through = {prefix.relative_to(HOME).parts[0] for prefix in prefixes if prefix.is_relative_to(HOME)}
    assert set(guest.value(asked)) <= led_through


def test_nothing_of_the_host_s_environment_is_inside(guest: HeldGuest) -> None:
    result = guest.run(
        """
import os
print(dict(os.environ))
for name in ("self", "1", str(os.getppid())):
    try:
        print(open(f"/proc/{name}/environ").read())
    except OSError as error:
        print(error)
"""
    )
    assert result["status"] == "ok"
    assert SECRET not in result["stdout"]


def test_an_environment_that_the_mode_names_is_inside_and_in_no_process_list(make_guest: Maker) -> None:
    for form in FORMS if os.geteuid() == 0 else ("user", "user-weaker"):
        guest = make_guest(form, environment={"TOKEN": "given-by-the-mode"})
        assert guest.value("import json, os; print(json.dumps(os.environ['TOKEN']))") == "given-by-the-mode"
        for pid in guest.processes():
            assert b"given-by-the-mode" not in Path(f"/proc/{pid}/cmdline").read_bytes()


@in_full
def test_in_full_proc_shows_its_own_processes_alone(guest: HeldGuest) -> None:
    pids = guest.value("import json, os; print(json.dumps([int(name) for name in os.listdir('/proc') if name.isdigit()]))")
    assert 1 in pids
    assert len(pids) <= 3


@weaker
def test_weaker_the_machine_s_proc_cannot_be_looked_at(guest: HeldGuest) -> None:
    asked = f"show([attempt(lambda: os.listdir('/proc')), attempt(lambda: open('/proc/{os.getpid()}/cmdline').read())])"
    assert guest.value(ATTEMPT + asked) == ["EACCES", "EACCES"]


def test_the_guest_itself_can_neither_be_read_nor_traced(guest: HeldGuest) -> None:
    outcome = guest.value(
        ATTEMPT
        + """
parent = os.getppid()
show({
    "mem": attempt(lambda: open(f"/proc/{parent}/mem", "rb").read(1)),
    "fd": attempt(lambda: os.listdir(f"/proc/{parent}/fd")),
    "environ": attempt(lambda: open(f"/proc/{parent}/environ").read()),
    "attach": call("ptrace", 16, parent, None, None),
    "traceme": call("ptrace", 0, 0, None, None),
    "vm": call("process_vm_readv", parent, None, 0, None, 0, 0),
    "pidfd_getfd": call("syscall", 438, 0, 0, 0),
})"""
    )
    assert "done" not in outcome.values(), outcome


@in_full
def test_in_full_the_code_holds_no_descriptor_but_its_own(guest: HeldGuest) -> None:
    open_now = guest.value("import json, os; print(json.dumps({name: os.readlink('/proc/self/fd/' + name) for name in '012'}))")
    assert open_now["0"] == "/dev/null"
    assert set(guest.value("import json, os; print(json.dumps(os.listdir('/proc/self/fd')))")) <= set("01234")


# -- what it can do -------------------------------------------------------------------------------------------------------------


def test_no_namespace_mount_or_filter_can_be_made(guest: HeldGuest) -> None:
    outcome = guest.value(
        ATTEMPT
        + """
flags = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000}
flags.update({"uts": 0x4000000, "ipc": 0x8000000, "cgroup": 0x2000000})
outcome = {name: call("unshare", flag) for name, flag in flags.items()}
for name, flag in flags.items():
    outcome["clone " + name] = call("syscall", 220 if arm else 56, flag | 17, 0, 0, 0, 0)
outcome["mount"] = call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
outcome["umount"] = call("umount2", b"/proc", 2)
outcome["chroot"] = call("chroot", b".")
outcome["setns"] = call("setns", 0, 0)
outcome["io_uring"] = call("syscall", 425, 1, None)
outcome["landlock"] = call("syscall", 444, None, 0, 1)
outcome["bpf"] = call("syscall", 280 if arm else 321, 0, None, 0)
outcome["keyctl"] = call("syscall", 219 if arm else 250, 0, 0, 0, 0, 0)
outcome["setuid"] = call("setuid", 0)
outcome["mknod"] = call("mknod", b"device", 0o20666, 0x103)
show(outcome)"""
    )
    assert "done" not in outcome.values(), outcome
    assert outcome["io_uring"] == "ENOSYS"


def test_seccomp_and_no_new_privileges_hold_the_code_s_own_process(guest: HeldGuest) -> None:
    assert guest.value(ATTEMPT + "show([libc.prctl(21, 0, 0, 0, 0), libc.prctl(39, 0, 0, 0, 0)])") == [2, 1]


def test_a_setuid_program_gains_nothing(guest: HeldGuest, make_guest: Maker, environment: Environment) -> None:
    if os.geteuid() != 0:
        pytest.skip("a setuid root program can only be made by root; the tests do not run as root")
    program = environment.root / "venv" / "lib" / "setuid-id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    held = make_guest(guest.form, own_python=False)
    path = "/venv/lib/setuid-id" if guest.form in STRONG else str(program)
    result = held.run(f"import subprocess; subprocess.run([{path!r}], check=True)")
    program.unlink()
    assert f"uid={held.launch()['facts']['uid']}" in result["stdout"], result
    assert "uid=0" not in result["stdout"]


@in_full
def test_in_full_only_its_own_folders_can_be_written(guest: HeldGuest) -> None:
    outcome = guest.value(
        ATTEMPT
        + """
def write(path):
    return attempt(lambda: open(path, "w").write("1"))
show({path: write(path) for path in (
    "/x", "/usr/x", "/venv/lib/x", "/etc/x", "/dev/x",
    "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/proc/1/mem",
    "/work/x", "/tmp/x", "/dev/shm/x", "/dev/null",
)})"""
    )
    allowed = {path for path, what in outcome.items() if what == "done"}
    assert allowed == {"/work/x", "/tmp/x", "/dev/shm/x", "/dev/null"}


def test_processes_outside_can_neither_be_signalled_nor_limited(guest: HeldGuest) -> None:
    host = guest.process.pid
    outcome = guest.value(
        ATTEMPT
        + f"""
show({{
    "signal": attempt(lambda: os.kill({host}, 0)),
    "limit": attempt(lambda: resource.prlimit({host}, resource.RLIMIT_CPU, (1, 1))),
    "pidfd": attempt(lambda: signal.pidfd_send_signal(os.pidfd_open({host}), 0)),
    "affinity": attempt(lambda: os.sched_setaffinity({host}, [0])),
    "priority": attempt(lambda: os.setpriority(os.PRIO_PROCESS, {host}, 19)),
}})"""
    )
    assert "done" not in outcome.values(), outcome


@weaker_as_user
def test_weaker_the_user_s_files_keep_their_modes_owners_and_times(guest: HeldGuest, canary: Path) -> None:
    before = (canary / "file").stat(), canary.stat()
    outcome = guest.value(
        ATTEMPT
        + f"""
file = {str(canary / "file")!r}
show({{
    "chmod": attempt(lambda: os.chmod(file, 0)),
    "chmod above": attempt(lambda: os.chmod({str(canary)!r}, 0)),
    "fchmod": attempt(lambda: os.fchmod(os.open(file, os.O_PATH), 0)),
    "by link": attempt(lambda: os.chmod(f"/proc/self/fd/{{os.open(file, os.O_PATH)}}", 0)),
    "chown": attempt(lambda: os.chown(file, -1, os.getgid())),
    "utime": attempt(lambda: os.utime(file, (1, 1))),
    "watch": call("inotify_init"),
    "newest": call("syscall", 452, -100, file.encode(), 0, 0),
}})"""
    )
    assert "done" not in outcome.values(), outcome
    after = (canary / "file").stat(), canary.stat()
    assert [(each.st_mode, each.st_uid, each.st_gid, each.st_mtime) for each in before] == [
        (each.st_mode, each.st_uid, each.st_gid, each.st_mtime) for each in after
    ]


# -- whom it can speak to ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def listeners(canary: Path) -> Iterator[dict[str, socket.socket]]:
    """On this machine: TCP and UDP on loopback, an abstract and two pathname sockets that every user may write to."""
    made = {
        "tcp": socket.create_server(("127.0.0.1", 0)),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "abstract": socket.socket(socket.AF_UNIX),
        "stream": socket.socket(socket.AF_UNIX),
        "datagram": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    }
    made["udp"].bind(("127.0.0.1", 0))
    made["abstract"].bind(f"\0{canary.name}")
    for name in ("stream", "datagram"):
        made[name].bind(str(canary / name))
        (canary / name).chmod(0o777)
    for name in ("abstract", "stream"):
        made[name].listen()
    yield made
    for name, each in made.items():
        if name in ("tcp", "abstract", "stream"):
            each.shutdown(socket.SHUT_RDWR)  # wakes whoever waits to accept
        each.close()


def test_nobody_on_this_machine_can_be_spoken_to(guest: HeldGuest, listeners: dict[str, socket.socket], canary: Path) -> None:
    heard: list[str] = []

    def accept(name: str) -> None:
        try:
            listeners[name].accept()[0].close()
            heard.append(name)
        except OSError:
            return

    for name in ("tcp", "abstract", "stream"):
        threading.Thread(target=accept, args=(name,), daemon=True).start()
    outcome = guest.value(
        ATTEMPT
        + f"""
def connect(family, kind, address):
    return attempt(lambda: socket.socket(family, kind).connect(address))
def by_pair(kind, address):
    pair = socket.socketpair(socket.AF_UNIX, kind)
    pair[0].connect(address)
def send_by_pair(kind, address):
    pair = socket.socketpair(socket.AF_UNIX, kind)
    pair[0].sendto(b"x", address)
datagram = {str(canary / "datagram")!r}
show({{
    "tcp": connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {listeners["tcp"].getsockname()[1]})),
    "outside": connect(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)),
    "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))),
    "abstract": connect(socket.AF_UNIX, socket.SOCK_STREAM, {listeners["abstract"].getsockname()!r}),
    "stream": connect(socket.AF_UNIX, socket.SOCK_STREAM, {str(canary / "stream")!r}),
    "datagram": attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", datagram)),
    "datagram by pair": attempt(lambda: by_pair(socket.SOCK_DGRAM, datagram)),
    "sent by pair": attempt(lambda: send_by_pair(socket.SOCK_DGRAM, datagram)),
    "sent by stream": attempt(lambda: send_by_pair(socket.SOCK_STREAM, {str(canary / "stream")!r})),
    "netlink": attempt(lambda: socket.socket(16, socket.SOCK_RAW)),
    "raw": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
    "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM)),
}})""",
        timeout_s=20,
    )
    for each in listeners.values():
        each.setblocking(False)
    with pytest.raises(BlockingIOError):
        listeners["datagram"].recv(1)
    assert "done" not in outcome.values(), outcome
    assert heard == []


# -- what must still work ---------------------------------------------------------------------------------------------------------


@in_full
def test_in_full_what_people_use_works(guest: HeldGuest) -> None:
    result = guest.run(
        """
import asyncio, concurrent.futures, multiprocessing, socket, sqlite3, subprocess, tempfile, threading
async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    await asyncio.open_connection(*server.sockets[0].getsockname())
    process = await asyncio.create_subprocess_exec("true")
    return await process.wait()
assert asyncio.run(main()) == 0
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
with concurrent.futures.ThreadPoolExecutor(4) as threads:
    assert list(threads.map(abs, [-3])) == [3]
with tempfile.TemporaryDirectory() as folder:
    database = sqlite3.connect(folder + "/data")
    assert database.execute("select 1").fetchone() == (1,)
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
import pty
assert all(pty.openpty())
"""
    )
    assert (result["status"], result["stderr"]) == ("ok", ""), result


@weaker
def test_weaker_threads_processes_and_asyncio_work(guest: HeldGuest) -> None:
    result = guest.run(
        """
import asyncio, sqlite3, subprocess, threading
assert asyncio.run(asyncio.sleep(0, 7)) == 7
thread = threading.Thread(target=print, args=("from a thread",)); thread.start(); thread.join()
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
database = sqlite3.connect("data"); database.execute("create table a (b)"); database.commit()
"""
    )
    assert (result["status"], result["stdout"]) == ("ok", "from a thread\n"), result


@pytest.mark.parametrize("guest", ["root"], indirect=True)
def test_numpy_of_the_virtual_environment_works(guest: HeldGuest) -> None:
    pytest.importorskip("numpy")
    assert guest.value("import numpy; print((numpy.ones((200, 200)) @ numpy.ones((200, 200))).sum())") == 8_000_000.0
