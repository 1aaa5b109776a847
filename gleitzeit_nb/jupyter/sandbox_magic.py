"""`%%sandbox`: run a cell's code where it can do no harm, with its output as it comes and values in and out as data."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import sys
import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TextIO

from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.execution import ExecutionResult
from gleitzeit_nb.core.limit_options import add_limits, limits_of
from gleitzeit_nb.core.plain import OutputText, clean, one_line
from gleitzeit_nb.errors import RunFailedError, TransferError, UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser, comma_list, documented, identifier, identifiers, joined
from gleitzeit_nb.jupyter.failures import fails_briefly
from gleitzeit_nb.jupyter.file_options import add_files, files_of, save
from gleitzeit_nb.jupyter.sandbox_display import mime_bundle
from gleitzeit_nb.jupyter.values import SandboxRun, duration
from gleitzeit_nb.jupyter.waiting_line import WaitingLine

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.sandbox import Sandbox
    from gleitzeit_nb.sandbox.artifacts import ArtifactFolder
    from gleitzeit_nb.sandbox.request import RunOptions

Piece = tuple[Literal["stdout", "stderr"], str] | Display

_ADVICE = {
    "error": "Mend the code and run the cell again; its own traceback stands above.",
    "timeout": "Let it do less, or give it longer: %%sandbox --timeout SECONDS.",
    "oom": "Let it need less, or give it more: %%sandbox --memory 1g.",
    "killed": "Run the cell again when you want its result.",
    "lost": "Run the cell again; %gleitzeit doctor looks at the sandbox itself.",
}


def sandbox_parser() -> MagicParser:
    parser = MagicParser("%%sandbox", "Run the cell's Python code in a sandbox. {expression} in options is replaced by its value.")
    add = parser.add_argument
    add("--mode", help="docker-sandbox, restricted or a mode of your own; default: the configured one")
    add("--image", help="the container image (docker modes)")
    add("--requirements", action="append", metavar="WHAT", help="packages on top of the image: a file, or one as seaborn==0.13.2")
    add("--allow", type=comma_list, action="append", metavar="HOST", help="let the code reach example.org, *.example.org, example.org:8443")
    add("--volume", action="append", metavar="HOST:GUEST[:rw]", help="a folder or file to mount, read-only unless :rw (docker modes)")
    add("--gpu", action="store_true", help="with the machine's GPUs (docker modes)")
    add("--in", dest="inputs", type=identifiers, action="append", metavar="A,B", help="variables of the notebook to pass in")
    add("--out", dest="outputs", type=identifiers, action="append", metavar="X,Y", help="variables to bring back")
    add("-o", "--output", type=identifier, metavar="NAME", help="bind the run (status, stdout, …) to this variable")
    add("--fresh", action="store_true", help="in a worker that has never run anything")
    add("--session", metavar="NAME", help="keep variables, imports and files for the next cell of this session")
    add("--no-fail", action="store_true", help="do not fail the cell when the run is not ok")
    add("--trust-html", action="store_true", help="show HTML that the code makes: it runs in your browser, with your rights")
    add("-q", "--quiet", action="store_true", help="show no output and no footer")
    add_files(parser)
    add_limits(parser)
    return parser


@magics_class
class SandboxMagics(Magics):
    front: Front

    def __init__(self, front: Front) -> None:
        super().__init__(front.shell)
        self.front = front
        self._folder: ArtifactFolder | None = None

    @no_var_expand
    @cell_magic("sandbox")  # type: ignore[arg-type]
    @fails_briefly
    @documented(sandbox_parser)
    def run(self, line: str, cell: str) -> SandboxRun | None:
        """Run the cell's Python code in a sandbox.

        Plain Python: top-level `await` works, shell commands and magics do not, `input()` is an EOFError. `--in` and `--out` carry
        values as data: JSON, text, bytes, arrays and tables of numbers. A run that is not ok fails the cell, after its output.
        """
        parser = sandbox_parser()
        args = parser.read(line, self._expand)
        if args.help:
            print(parser.format_help())  # noqa: T201
            return None
        if not cell.strip():
            raise UsageError("%%sandbox: the cell holds no code.\nWrite it below the first line.")
        options = self._options(args)
        run = SandboxRun(self._execute(cell, args, options))
        self._bind(run, args)
        refusal = self._save(run, args)
        if (run.ok or args.no_fail) and refusal is None:
            return None if args.quiet else run
        if not args.quiet:
            self.front.shell.displayhook(run)
        if refusal is not None and (run.ok or args.no_fail):
            raise refusal
        raise RunFailedError(_failure(run.result), result=run.result)

    def _save(self, run: SandboxRun, args: argparse.Namespace) -> TransferError | None:
        """Files of a run that failed too; why they cannot be written is told after the run was shown."""
        from gleitzeit_nb.sandbox.artifacts import ArtifactFolder

        self._folder = self._folder or ArtifactFolder()
        try:
            run.saved = tuple((each.name, each.bytes) for each in save(self._folder, run.result, args))
        except TransferError as exc:
            return exc
        run.saved_to = args.artifacts or ""
        return None

    def _expand(self, text: str) -> str:
        from gleitzeit_nb.jupyter.template import expand

        return expand(text, self.front.evaluate)

    def _options(self, args: argparse.Namespace) -> RunOptions:
        from gleitzeit_nb.config import requirements

        given: RunOptions = {
            "inputs": self._inputs(joined(args.inputs)),
            "outputs": joined(args.outputs),
            "fresh": args.fresh,
            "session": args.session,
            "id": uuid.uuid4().hex,
            "image": args.image,
            "trust_html": args.trust_html,
            "filename": f"<cell [{self.front.cell_number}]>",
            "allow": joined(args.allow),
            "requirements": requirements(args.requirements).lines,
            "volumes": args.volume,
            "gpu": args.gpu,
            "label": f"[{self.front.cell_number}] %%sandbox",
        }
        given.update(files_of(args))
        given |= limits_of(args)  # type: ignore[typeddict-item]
        return given

    def _inputs(self, names: tuple[str, ...]) -> dict[str, Any]:
        namespace = self.front.shell.user_ns
        for name in names:
            if name not in namespace:
                near = difflib.get_close_matches(name, [each for each in namespace if not each.startswith("_")], n=1)
                hint = f"; did you mean {near[0]}?" if near else "."
                raise UsageError(f"--in: there is no variable {name!r} in the notebook{hint}\nDefine it in a cell before this one.")
        return {name: namespace[name] for name in names}

    def _execute(self, code: str, args: argparse.Namespace, options: RunOptions) -> ExecutionResult:
        runtime, sandbox = self.front.runtime, self.front.engine.sandbox
        screen = _Screen(quiet=args.quiet)
        waiting = WaitingLine(in_kernel=self.front.in_kernel and not args.quiet)
        result: ExecutionResult | None = None
        try:
            with contextlib.closing(runtime.iterate(_pieces(sandbox, code, args.mode, options))) as batches:
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

    def _bind(self, run: SandboxRun, args: argparse.Namespace) -> None:
        namespace = self.front.shell.user_ns
        if args.output:
            namespace[args.output] = run
        namespace.update({name: value for name, value in run.result.outputs.items() if name in joined(args.outputs)})


class _Screen:
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


async def _pieces(sandbox: Sandbox, code: str, mode: str | None, options: RunOptions) -> AsyncGenerator[Piece | ExecutionResult, None]:
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


def _failure(result: ExecutionResult) -> str:
    """The status by name, why, where, and what to do."""
    lines = [f"{result.status}: {one_line(result.detail, 200) or 'the run did not end ok'}"]
    lines.append(f"It ran in {one_line(result.mode, 60)} for {duration(result.timings.run_s)}.")
    lines += _cut(result.truncated)
    return "\n".join([*lines, _ADVICE[result.status]])


def _cut(truncated: Mapping[str, int]) -> list[str]:
    cut = [f"{size:,} bytes of {stream}" for stream, size in sorted(truncated.items()) if size]
    return [f"Left out of its output: {', '.join(cut)}."] if cut else []
