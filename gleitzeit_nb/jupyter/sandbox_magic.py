"""`%%sandbox`: run a cell's code where it can do no harm, with its output as it comes and values in and out as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand

from gleitzeit_nb.core.limit_options import add_limits
from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser, comma_list, documented, identifier, identifiers
from gleitzeit_nb.jupyter.failures import fails_briefly
from gleitzeit_nb.jupyter.jobs.bg_option import add_bg_option, run_in_background
from gleitzeit_nb.jupyter.sandbox.cell import bring_back, execute, failure_of, run_options
from gleitzeit_nb.jupyter.sandbox.file_options import add_files
from gleitzeit_nb.jupyter.values import SandboxRun

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
    from gleitzeit_nb.jupyter.jobs.handle import JobHandle


def sandbox_parser() -> MagicParser:
    parser = MagicParser("%%sandbox", "Run the cell's Python code in a sandbox. {expression} in options is replaced by its value.")
    parser.expands = True
    parser.examples = ("%%sandbox --in table --out total --timeout 30\ntotal = sum(table)",)
    parser.section("where it runs")
    add = parser.add_argument
    add("--mode", metavar="MODE", offers="mode", help="docker-sandbox, restricted, one of your own; default: the configured one")
    add("--image", metavar="NAME", offers="container image", help="the container image (docker modes)")
    add(
        "--requirements",
        action="append",
        metavar="WHAT",
        offers="file",
        help="packages on top of the image: a file, or one as seaborn==0.13.2",
    )
    add(
        "--allow",
        type=comma_list,
        action="append",
        metavar="HOST",
        offers="host",
        help="let the code reach example.org, *.example.org, example.org:8443",
    )
    add(
        "--volume",
        action="append",
        metavar="HOST:GUEST",
        offers="file",
        help="a folder or file to mount, read-only unless :rw (docker modes)",
    )
    add("--gpu", action="store_true", help="with the machine's GPUs (docker modes)")
    add("--session", metavar="NAME", offers="session", help="keep variables, imports and files for the next cell of this session")
    add("--fresh", action="store_true", help="in a worker that has never run anything")
    parser.section("values in and out")
    add(
        "--in", dest="inputs", type=identifiers, action="append", metavar="A,B", offers="input", help="variables of the notebook to pass in"
    )
    add("--out", dest="outputs", type=identifiers, action="append", metavar="X,Y", offers="result", help="variables to bring back")
    add("-o", "--output", type=identifier, metavar="NAME", offers="variable", help="bind the run (status, stdout, …) to this variable")
    add_files(parser)
    parser.section("what is shown")
    add_bg_option(parser)
    add("--no-fail", action="store_true", help="do not fail the cell when the run is not ok")
    add("--trust-html", action="store_true", help="show HTML that the code makes: it runs in your browser, with your rights")
    add("-q", "--quiet", action="store_true", help="show no output and no footer")
    parser.section("limits")
    add_limits(parser)
    return parser


@magics_class
class SandboxMagics(Magics):
    front: Front

    def __init__(self, front: Front) -> None:
        super().__init__(front.shell)
        self.front = front

    @no_var_expand
    @cell_magic("sandbox")  # type: ignore[arg-type]
    @fails_briefly
    @documented(sandbox_parser)
    def run(self, line: str, cell: str) -> SandboxRun | JobHandle | None:
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
        if args.bg:
            handle = run_in_background(self.front, cell, args)
            if args.output:
                self.front.shell.user_ns[args.output] = handle
            return None if args.quiet else handle
        run = SandboxRun(execute(self.front, cell, args, run_options(self.front, args, "%%sandbox")))
        if not args.quiet:
            run.stands_above(self.front.this_cell())
        if args.output:
            self.front.shell.user_ns[args.output] = run
        failure = failure_of(run, args, bring_back(self.front, run, args))
        if failure is None:
            return None if args.quiet else run
        if not args.quiet:
            self.front.shell.displayhook(run)
        raise failure

    def _expand(self, text: str) -> str:
        from gleitzeit_nb.jupyter.template import expand

        return expand(text, self.front.evaluate)
