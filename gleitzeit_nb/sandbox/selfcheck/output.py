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
    result = await execute("input()", timeout=5)
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
