"""One run of a cell's code in the sandbox: from the options of `%%sandbox` to what stands below the cell."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import sys
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TextIO

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.core.limit_options import limits_of
from gleitzeit_nb.core.plain import OutputText, clean, one_line
from gleitzeit_nb.errors import RunFailedError, TransferError, UsageError
from gleitzeit_nb.jupyter.arguments import joined
from gleitzeit_nb.jupyter.display.waiting_line import WaitingLine
from gleitzeit_nb.jupyter.sandbox.file_options import files_of, save
from gleitzeit_nb.jupyter.sandbox.shown import mime_bundle
from gleitzeit_nb.jupyter.values import SandboxRun, duration

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.sandbox import Sandbox
    from gleitzeit_nb.sandbox.request import RunOptions

Piece = tuple[Literal["stdout", "stderr"], str] | Display

_ADVICE = {
    "error": "Mend the code and run the cell again; its own traceback stands above.",
    "timeout": "Let it do less, or give it longer: %%sandbox --timeout SECONDS.",
    "oom": "Let it need less, or give it more: %%sandbox --memory 1g.",
    "killed": "Run the cell again when you want its result.",
    "lost": "Run the cell again; %gleitzeit doctor looks at the sandbox itself.",
}
_ANSWER_ADVICE = _ADVICE | {
    "error": "The code is the model's: ask again with what went wrong, or mend it in a %%sandbox cell.",
    "timeout": 'Give it longer: --run-with "--timeout SECONDS".',
    "oom": 'Give it more: --run-with "--memory 1g".',
}


def run_options(front: Front, args: argparse.Namespace, magic: str, whose: str = "cell") -> RunOptions:
    """What the options of a cell stand for. `magic`: how views name the run; `whose`: what its traceback calls the code.

    Raises UsageError, ConfigError or TransferError.
    """
    from gleitzeit_nb.config import requirements

    given: RunOptions = {
        "inputs": _inputs(front, joined(args.inputs)),
        "outputs": joined(args.outputs),
        "fresh": args.fresh,
        "session": args.session,
        "id": uuid.uuid4().hex,
        "image": args.image,
        "trust_html": args.trust_html,
        "filename": f"<{whose} [{front.cell_number}]>",
        "allow": joined(args.allow),
        "requirements": requirements(args.requirements).lines,
        "volumes": args.volume,
        "gpu": args.gpu,
        "label": f"[{front.cell_number}] {magic}",
    }
    given.update(files_of(args))
    given |= limits_of(args)  # type: ignore[typeddict-item]
    if given["timeout"] is None:
        given["timeout"] = front.settings.timeout
    return given


def mode_of(front: Front, args: argparse.Namespace) -> str | None:
    """The mode that the line names, else the one of `%config`; None: as configured."""
    return args.mode or front.settings.mode or None


def _inputs(front: Front, names: tuple[str, ...]) -> dict[str, Any]:
    namespace = front.shell.user_ns
    for name in names:
        if name not in namespace:
            near = difflib.get_close_matches(name, [each for each in namespace if not each.startswith("_")], n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UsageError(f"--in: there is no variable {name!r} in the notebook{hint}\nDefine it in a cell before this one.")
    return {name: namespace[name] for name in names}


def execute(front: Front, code: str, args: argparse.Namespace, options: RunOptions) -> ExecutionResult:
    """Run it, and show its output as it comes. Blocks; an interrupt kills the run."""
    runtime, sandbox = front.runtime, front.engine.sandbox
    screen = Screen(quiet=args.quiet)
    waiting = WaitingLine(in_kernel=front.in_kernel and not args.quiet)
    result: ExecutionResult | None = None
    try:
        with contextlib.closing(runtime.iterate(pieces(sandbox, code, mode_of(front, args), options))) as batches:
            for batch in batches:
                waiting.show("" if batch else sandbox.describe(options["id"]))
                for piece in batch:
                    if isinstance(piece, ExecutionResult):
                        result = piece
                    elif isinstance(piece, Display):
                        screen.display(piece)
                    else:
                        screen.show(*piece)
                screen.flush()
    finally:
        waiting.show("")
        screen.end()
    if result is None:
        raise RuntimeError("the sandbox ended a run without a result and without an error")
    if result.traceback:
        screen.show("stderr", clean(result.traceback).rstrip("\n") + "\n")
        screen.end()
    return result


def bring_back(front: Front, run: SandboxRun, args: argparse.Namespace) -> TransferError | None:
    """Bind the variables of `--out` and write the files of `--artifacts`, of a run that failed too; why files could not be written."""
    front.shell.user_ns.update({name: value for name, value in run.result.outputs.items() if name in joined(args.outputs)})
    return write_files(front, run, args)


def write_files(front: Front, run: SandboxRun, args: argparse.Namespace) -> TransferError | None:
    """Why they cannot be written is told after the run was shown."""
    try:
        run.saved = tuple((each.name, each.bytes) for each in save(front.artifacts, run.result, args))
    except TransferError as exc:
        return exc
    run.saved_to = args.artifacts or ""
    return None


def failure_of(
    run: SandboxRun, args: argparse.Namespace, refusal: TransferError | None, *, of_answer: bool = False
) -> TransferError | RunFailedError | None:
    """What the cell ends in; None when it ends well. `of_answer`: a model wrote the code."""
    if run.ok or args.no_fail:
        return refusal
    return RunFailedError(_failure(run.result, _ANSWER_ADVICE if of_answer else _ADVICE), result=run.result)


class Screen:
    """The notebook's stdout and stderr, for text that is not trusted. What stands in one stream waits until the other has its turn."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._texts = {"stdout": OutputText(), "stderr": OutputText()}
        self._last = "stdout"

    def show(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        self._write(stream, self._texts[stream].feed(text))

    def display(self, shown: Display) -> None:
        """Behind everything that was printed before it."""
        if self._quiet:
            return
        self.end()
        from IPython.display import publish_display_data

        publish_display_data(data=mime_bundle(shown))  # type: ignore[no-untyped-call]

    def end(self) -> None:
        for stream, text in self._texts.items():
            self._write(stream, text.flush())
        self.flush()

    def flush(self) -> None:
        """Costs a round trip to the kernel's output thread: once per batch, not per line."""
        self._target(self._last).flush()

    def _write(self, stream: str, text: str) -> None:
        if text and not self._quiet:
            if stream != self._last:
                self.flush()  # else the two would change places
                self._last = stream
            self._target(stream).write(text)

    def _target(self, stream: str) -> TextIO:
        return sys.stdout if stream == "stdout" else sys.stderr


async def pieces(sandbox: Sandbox, code: str, mode: str | None, options: RunOptions) -> AsyncGenerator[Piece | ExecutionResult, None]:
    """Output as it comes, then the result. Closing it kills the run."""
    import asyncio  # here: loading the extension in a terminal needs none of it

    arrived: asyncio.Queue[Piece | None] = asyncio.Queue()
    execute = sandbox.execute(
        code,
        mode,
        on_output=lambda *piece: arrived.put_nowait(piece),
        on_display=arrived.put_nowait,
        on_progress=lambda line: arrived.put_nowait(("stderr", line + "\n")),
        **options,
    )
    running = asyncio.ensure_future(execute)
    running.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (piece := await arrived.get()) is not None:
            yield piece
        yield await running
    finally:
        running.cancel()
        await asyncio.wait({running})


def _failure(result: ExecutionResult, advice: Mapping[str, str]) -> str:
    """The status by name, why, where, and what to do."""
    lines = [f"{result.status}: {one_line(result.detail, 200) or 'the run did not end ok'}"]
    lines.append(f"It ran in {one_line(result.mode, 60)} for {duration(result.timings.run_s)}.")
    lines += _cut(result.truncated)
    return "\n".join([*lines, advice[result.status]])


def _cut(truncated: Mapping[str, int]) -> list[str]:
    cut = [f"{size:,} bytes of {stream}" for stream, size in sorted(truncated.items()) if size]
    return [f"Left out of its output: {', '.join(cut)}."] if cut else []
