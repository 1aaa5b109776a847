"""What comes out is text, whole or honestly cut, and code goes in whole or not at all."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Execute

AREA = Area("output")
FLOOD = "import os\nos.write(1, b'HEAD')\nfor _ in range(64): os.write(1, b'x' * (1 << 20))\nos.write(1, b'TAIL');"


@AREA.check(
    "no output limit",
    proves="output-text",
    tried="print 64 MiB under a limit of one",
    expected=["ok", "HEADxxx", "xxxTAIL", True, {"stdout": 63 * MIB + 8}],
    forms=EVERY,
)
async def an_output_flood_is_cut(execute: Execute) -> Any:
    """Of 64 MiB of output the head and the tail are kept, a megabyte together; the rest is counted."""
    result = await execute(FLOOD, max_output=MIB)
    short = len(result.stdout) < MIB + 100
    return [result.status, result.stdout[:7], result.stdout[-7:], short, dict(result.truncated)]


@AREA.check(
    "input inherited",
    proves="own-result",
    tried="input()",
    expected=["error", "EOFError: EOF when reading a line"],
    forms=EVERY,
)
async def there_is_nothing_to_read(execute: Execute) -> Any:
    """input() is an EOFError, and the frames meant for the guest cannot be stolen."""
    result = await execute("input()", timeout=1)
    return [result.status, result.traceback.strip().rpartition("\n")[2]]


@AREA.check("source cut", proves="output-text", tried="run code with a NUL byte", expected=["error", ""], forms=EVERY)
async def code_with_a_nul_byte_is_refused_whole(execute: Execute) -> Any:
    """Not one line of code that holds a NUL byte is run: it is not cut there."""
    result = await execute("print('ran')\n\0print('rest')")
    return [result.status, result.stdout]


@AREA.check(
    "strict text",
    proves="output-text",
    tried="print a lone surrogate, and a byte that is not UTF-8",
    expected=["ok", "\\ud800\ncaf�\n"],
    forms=EVERY,
)
async def any_bytes_can_be_printed(execute: Execute) -> Any:
    """Output that is not UTF-8 is shown with replacements, never an error."""
    result = await execute("import sys\nprint('\\ud800')\nsys.stdout.flush()\nsys.stdout.buffer.write(b'caf\\xe9\\n');")
    return [result.status, result.stdout]


@AREA.check(
    "no output limit",
    proves="output-text",
    tried="write 8 MiB without a line's end to stderr under a limit of one",
    expected=["ok", True, {"stderr": 7 * MIB}],
    forms=EVERY,
)
async def a_flood_of_errors_is_cut(execute: Execute) -> Any:
    """stderr has a limit of its own, and needs no line to end before it counts."""
    result = await execute("import os\nfor _ in range(8): os.write(2, b'x' * (1 << 20));", max_output=MIB)
    return [result.status, len(result.stderr) < MIB + 100, dict(result.truncated)]


@AREA.check("tail dropped", proves="output-text", tried="print 0.9 MiB under a limit of one", expected=["ok", 943718, "END"], forms=EVERY)
async def output_within_the_limit_is_whole(execute: Execute) -> Any:
    """Below the limit not one byte is lost."""
    result = await execute("import sys\nsys.stdout.write('x' * 943715 + 'END');", max_output=MIB)
    return [result.status, len(result.stdout), result.stdout[-3:]]


@AREA.check(
    "bytes lost", proves="output-text", tried="print NUL, escape and bell characters", expected=["ok", "a\0b\x1b[31mc\x07\n"], forms=EVERY
)
async def control_characters_arrive_as_they_are(execute: Execute) -> Any:
    """Nothing is taken out of the output on its way; what shows it makes it harmless."""
    result = await execute("print('a\\0b\\x1b[31mc\\x07')")
    return [result.status, result.stdout]


@AREA.check("streams mixed", proves="output-text", tried="print to both streams", expected=["out\n", "err\n"], forms=EVERY)
async def the_streams_are_told_apart(execute: Execute) -> Any:
    """What was written to stderr is not shown as stdout, nor the other way round."""
    result = await execute("import sys\nprint('out')\nprint('err', file=sys.stderr)")
    return [result.stdout, result.stderr]


@AREA.check("guest in sight", proves="output-text", tried="divide by zero in line 3", expected=[True, False], forms=EVERY)
async def a_traceback_is_the_codes_own(execute: Execute) -> Any:
    """A traceback has the code's own line numbers and no frame of the guest."""
    result = await execute("def fail():\n    pass\nfail(1 / 0)")
    return ["line 3" in result.traceback, "runner" in result.traceback]
