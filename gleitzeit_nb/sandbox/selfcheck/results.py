"""What is shown is data, and what is brought out are the files that the code left, and only those."""

from __future__ import annotations

from typing import Any

from gleitzeit_nb.core.execution import MIB
from gleitzeit_nb.sandbox.selfcheck.check import EVERY, Area, Execute
from gleitzeit_nb.sandbox.selfcheck.probing import seen

AREA = Area("results")


@AREA.check(
    "links followed",
    proves="files-out",
    tried="leave links to a file and to a directory outside the work directory, and bring out what was left",
    expected=[["kept"], ["file", "folder"]],
    forms=EVERY,
)
async def no_link_is_brought_out(execute: Execute) -> Any:
    """What a link in the work directory leads to does not come out with the files."""
    code = "import os\nos.symlink('/etc/passwd', 'file')\nos.symlink('/etc', 'folder')\nopen('kept', 'w').write('k');"
    result = await execute(code, artifacts=True)
    return [sorted(result.artifacts), sorted(result.left_out)]


@AREA.check(
    "files without limit",
    proves="files-out",
    tried="leave a sparse file that is larger than the work directory may be",
    expected=[["small"], ["sparse"]],
    forms=EVERY,
)
async def no_more_is_brought_out_than_the_work_directory_holds(execute: Execute) -> Any:
    """A file that claims to be larger than the work directory is named and not read."""
    code = f"open('sparse', 'wb').truncate({3 * MIB})\nopen('small', 'w').write('s');"
    result = await execute(code, artifacts=True, workspace_size="2m")
    return [sorted(result.artifacts), sorted(result.left_out)]


@AREA.check(
    "hidden files brought out",
    proves="files-out",
    tried="leave files whose names lead elsewhere or are obeyed by tools",
    expected=[["plain"], True],
    forms=EVERY,
)
async def no_strange_name_is_brought_out(execute: Execute) -> Any:
    """Hidden names, and names that mean something elsewhere, stay inside."""
    code = "import os\nos.mkdir('__pycache__')\n"
    code += "for name in ('.bashrc', 'a:b', 'a\\\\b', '__pycache__/m.pyc', 'plain'): open(name, 'w').close()"
    result = await execute(code, artifacts=True)
    return [sorted(result.artifacts), "__pycache__/m.pyc" not in result.left_out]


@AREA.check(
    "inputs forgotten",
    proves="files-out",
    tried="pass two files in, write to one, and bring out what was left",
    expected={"changed": b"in!"},
    forms=EVERY,
)
async def what_went_in_and_did_not_change_stays(execute: Execute) -> Any:
    """Of the files that went in only those come back that the code wrote to."""
    result = await execute("open('changed', 'a').write('!');", files={"changed": b"in", "same": b"in"}, artifacts=True)
    return dict(result.artifacts)


@AREA.check("nothing wiped", proves="nothing-outlives", tried="pass a file in, and look for it in the next run", expected=[], forms=EVERY)
async def no_file_that_went_in_outlives_its_run(execute: Execute) -> Any:
    """A file that was passed in is gone before the next run."""
    await execute("1", files={"d/secret": b"s"})
    return await seen(execute, "seen = os.listdir('.')")


@AREA.check(
    "live HTML sent",
    proves="shown-as-data",
    tried="show a value whose own HTML holds a script",
    expected=["H", None, 0],
    forms=EVERY,
)
async def html_of_the_code_does_not_come_out(execute: Execute) -> Any:
    """A value with HTML of its own is shown as text; the HTML is not even sent."""
    code = "class H:\n    def _repr_html_(self): return '<script>alert(1)</script>'\n    def __repr__(self): return 'H'\nH()"
    result = await execute(code)
    return [result.displays[0].text, result.displays[0].html, result.displays_dropped]
