"""The child's half of the guest: becomes a clean process of its own, runs the code once, reports, and is gone.

Travels to the guest with its source: standard library only, Python 3.8. Everything here shares the process with the code, so
nothing here is trusted by anybody; a wrong report can only be about this one run.
"""

from __future__ import annotations

import _ast
import _signal as signal  # type: ignore[import-not-found]  # without the enumerations of the module around it
import atexit
import builtins
import io
import os
import resource
import sys

from gleitzeit_nb.sandbox import codec, protocol, showing
from gleitzeit_nb.sandbox.protocol import REPORT_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator
    from typing import Any

    Prctl = Callable[[int, int], int]

TRACEBACK_CHARS = 48 << 10
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
OUT_OF_MEMORY = "MemoryError"
NO_MAGICS = "Shell commands and magics do not run in the sandbox: it takes plain Python."

CO_COROUTINE = 0x80  # as in inspect, whose import takes longer than most runs


def become_child(stdout: int, stderr: int, report: int, work: str, prctl: Prctl, kept: tuple[int, ...]) -> None:
    """Leave everything of the guest behind: its session, its signal handlers, its descriptors and its protection.

    `kept` are moved to the numbers behind the report's.
    """
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.dup2(report, REPORT_FD, inheritable=False)
    for place, fd in enumerate(kept, REPORT_FD + 1):
        os.dup2(fd, place, inheritable=False)
    os.closerange(REPORT_FD + 1 + len(kept), os.sysconf("SC_OPEN_MAX"))
    # Only now, with the guest's descriptors gone: the code's own /proc/self must belong to it, and the lines below write there.
    prctl(PR_SET_DUMPABLE, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # the out-of-memory killer shall take the code, never the guest
    except OSError:
        pass  # no /proc here: then there is no cgroup whose killer could choose wrongly either
    os.umask(0o022)
    os.chdir(work)
    sys.path.insert(0, work)
    sys.argv = [""]
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), "utf-8")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _writer(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _writer(2)  # type: ignore[misc]


def limit(rlimits: dict[str, int]) -> None:
    for name, value in rlimits.items():
        number = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


def _writer(fd: int) -> io.TextIOWrapper:
    """Never fails on a character, and shows every line as soon as it is whole."""
    raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
    return io.TextIOWrapper(raw, "utf-8", errors="backslashreplace", line_buffering=True)


awaiting: Any = None  # how a session awaits; else each run has a loop of its own


def run(header: dict[str, Any], code: bytes, inputs: list[bytes]) -> int:
    """Run the code and report. Returns the exit code."""
    namespace = fresh_main()
    reseed()
    return _finish(run_cell(header, code, inputs, namespace))


def run_cell(header: dict[str, Any], code: bytes, inputs: list[bytes], namespace: dict[str, Any]) -> int:
    """Run the code in a namespace and report; the process goes on. Returns the exit code."""
    write, filename = os.write, header["filename"]
    screen = showing.Screen(lambda data: _write_all(write, data), header["display_bytes"], header["html"])
    screen.install()
    try:
        for each, data in zip(header["inputs"], inputs):  # noqa: B905 - Python 3.8 has no strict=
            namespace[each["name"]] = codec.decode(each["kind"], data)
        _execute(code.decode("utf-8", "surrogatepass"), filename, namespace, header["allowed_modules"])
    except SystemExit as exc:
        status = _exit_code(exc.code)
    except BaseException as exc:
        report(write, protocol.FAULT, _fault(exc, filename))
        status = 1
    else:
        status = 0
    screen.finish()
    if status == 0:
        for name in header["outputs"]:
            _send_output(write, name, namespace, header["value_bytes"])
    return status


def reseed() -> None:
    """`random` reseeds itself after a fork, numpy does not."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def fresh_main() -> dict[str, Any]:
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    return module.__dict__


def _execute(source: str, filename: str, namespace: dict[str, Any], allowed_modules: list[str] | None) -> None:
    """As a notebook would: await at the top level, and the last expression's value shown."""
    _remember(filename, source)
    tree: Any = compile(source, filename, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
    if allowed_modules is not None:
        _refuse_imports(tree, set(allowed_modules))
    flags = _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    shown = _shown_value(tree, source)
    steps = [compile(tree, filename, "exec", flags, dont_inherit=True)] if tree.body else []
    if shown is not None:
        steps.append(compile(shown, filename, "eval", flags, dont_inherit=True))
    value: Any = None
    if not any(step.co_flags & CO_COROUTINE for step in steps):
        for step in steps:
            value = eval(step, namespace)  # noqa: S307 - running the code is the purpose
    else:

        async def in_one_loop() -> Any:
            value = None
            for step in steps:
                value = eval(step, namespace)  # noqa: S307
                if step.co_flags & CO_COROUTINE:
                    value = await value
            return value

        value = (awaiting or _run_once)(in_one_loop())
    if shown is not None:
        sys.displayhook(value)


_sources: dict[str, tuple[int, None, list[str], str]] = {}


def _remember(filename: str, source: str) -> None:
    """For tracebacks and `inspect`, once something imports what they read it from: few runs do."""
    entry = (len(source), None, source.splitlines(True), filename)
    linecache = sys.modules.get("linecache")
    if linecache is not None:
        linecache.cache[filename] = entry
        return
    if not _sources:
        sys.meta_path.insert(0, showing.AfterImport("linecache", lambda module: module.cache.update(_sources)))
    _sources[filename] = entry


def _run_once(work: Any) -> Any:
    import asyncio

    return asyncio.run(work)


def _shown_value(tree: ast.Module, source: str) -> ast.Expression | None:
    """The last expression, taken out of the tree; None where there is none, or where a semicolon behind it silences it."""
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, _ast.Expr):
        return None
    # Lines as Python counts them: str.splitlines would also split at form feeds and others.
    behind = source.encode("utf-8", "surrogatepass").split(b"\n")[(last.end_lineno or 1) - 1 :]
    behind[0] = behind[0][last.end_col_offset :]
    if b"\n".join(behind).lstrip(b" \t\f\\\r\n)").startswith(b";"):
        return None
    del tree.body[-1]
    return _ast.Expression(last.value)


def _refuse_imports(tree: ast.AST, allowed: set[str]) -> None:
    """A courtesy to whoever reads the code, not a boundary: an import can be had without the statement."""
    import ast

    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name in [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]:
            if name.partition(".")[0] not in allowed and name not in allowed:
                listed = ", ".join(sorted(allowed)) or "none"
                raise ImportError(f"line {node.lineno} imports {name!r}, and this mode allows only: {listed}")


def _exit_code(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF
    try:
        sys.stderr.write(f"{code}\n")
    except BaseException:
        return 1  # what the code wanted to say cannot be said; that it failed can
    return 1


def _send_output(write: Callable[[int, bytes], int], name: str, namespace: dict[str, Any], most: int) -> None:
    try:
        if name not in namespace:
            raise codec.CodecError("the code did not define it")
        kind, data = codec.encode(namespace[name])
        if len(data) > most:
            raise codec.CodecError(f"it takes {len(data)} bytes and the limit for a value is {most}")
    except codec.CodecError as exc:
        report(write, protocol.REFUSED, {"name": name, "reason": str(exc)[:2000]})
    except BaseException as exc:
        report(write, protocol.REFUSED, {"name": name, "reason": f"reading it raised {type(exc).__name__}"})
    else:
        report(write, protocol.VALUE, {"name": name, "kind": kind, "bytes": len(data)})
        for piece in protocol.chunks(protocol.DATA, data, protocol.BLOB_BYTES):
            _write_all(write, piece)


def _finish(status: int) -> int:
    """What a script does at its end: wait for threads, run exit functions, flush."""
    try:
        threading: Any = sys.modules.get("threading")
        if threading is not None:
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()
        atexit._run_exitfuncs()
    except BaseException:
        import traceback

        traceback.print_exc()
    flush()
    return status


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            continue  # the code replaced or closed the stream: what it holds is the code's own loss


def exit_code_of(status: int | None) -> int | None:
    """Of what waitpid says, as subprocess gives it: negative for a signal."""
    if status is None:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


# -- reports ------------------------------------------------------------------------------------------------------------------


def report(write: Callable[[int, bytes], int], kind: bytes, content: dict[str, Any]) -> None:
    _write_all(write, protocol.json_frame(kind, content))


def _write_all(write: Callable[[int, bytes], int], data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[write(REPORT_FD, bytes(view)) :]
    except OSError:
        return  # the code closed the descriptor; the exit code still tells how the run ended


def _fault(exc: BaseException, filename: str) -> dict[str, Any]:
    kind = OUT_OF_MEMORY if isinstance(exc, MemoryError) else type(exc).__name__
    try:
        text = "".join(_user_traceback(exc, filename))
    except BaseException:
        import traceback

        text = "".join(traceback.format_exception_only(type(exc), None))
    if isinstance(exc, SyntaxError) and str(exc.text or "").lstrip()[:1] in ("!", "%"):
        text += NO_MAGICS + "\n"
    if len(text) > TRACEBACK_CHARS:
        half = TRACEBACK_CHARS // 2
        text = text[:half] + "\n  [...]\n" + text[-half:]
    return {"type": kind, "text": text}


def _user_traceback(exc: BaseException, filename: str) -> Iterator[str]:
    """The traceback from the code's first own frame on, without a frame of the guest."""
    import traceback

    whole = traceback.TracebackException(type(exc), exc, exc.__traceback__)
    for part in _chain(whole):
        frames = [frame for frame in part.stack if not frame.filename.startswith("<gleitzeit_nb.")]
        own = [position for position, frame in enumerate(frames) if frame.filename == filename]
        # In a SyntaxError of the code itself no frame is the code's: what is left are compile() and its callers.
        part.stack[:] = frames[own[0] :] if own else []
    return whole.format()


def _chain(part: Any) -> Iterator[Any]:
    waiting, seen = [part], set()
    while waiting:
        part = waiting.pop()
        if part is not None and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]
