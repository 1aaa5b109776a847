"""What code shows, made inside the sandbox as a notebook would show it, by the real guest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gleitzeit_nb.core.displays import Column, Display
from gleitzeit_nb.core.execution import ExecutionRequest, ExecutionResult, Limits
from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.connection import GuestConnection
from tests.sandbox.subprocess_channel import SubprocessChannel
from tests.support.pictures import SVG, jpeg, png

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Runner:
    def __init__(self, connection: GuestConnection) -> None:
        self.connection = connection

    async def __call__(self, code: str, *, limits: Any = None, order: list[Any] | None = None, **request: Any) -> ExecutionResult:
        heard = [] if order is None else order
        return await self.connection.run(
            ExecutionRequest("id", code, filename="<cell>", **request),
            Limits(**(limits or {})),
            lambda name, text: heard.append((name, text)),
            None,
            lambda shown: heard.append(shown.text),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runner]:
    connection = GuestConnection(await SubprocessChannel.start(tmp_path_factory.mktemp("work")))
    await connection.open()
    yield Runner(connection)
    await connection.close()


def texts(result: ExecutionResult) -> list[str]:
    return [shown.text for shown in result.displays]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("6 * 7", ["42"]),
        ("6 * 7;", []),
        ("6 * 7; # quiet", []),
        ("(6 * 7)  ;  ", []),
        ("(6 *\n 7\n) ;", []),
        ("'ü'; x = 1", []),
        ("'ü' ;", []),
        ("6 * 7 # not; quiet", ["42"]),
        ("';'", ["';'"]),
        ("x = 1;\r\nx", ["1"]),
        ("1\n2", ["2"]),
        ("for x in [1, 2]: x", []),
        ("None", []),
        ("display(1, 'a')\n3", ["1", "'a'", "3"]),
        ("display(display_id=True, clear=True)", []),
        ("import sys\nsys.displayhook = print\n5", []),
        ("import sys\nsys.stdout = sys.stderr = None\n5", ["5"]),
        ("class E:\n    def __repr__(self): return ''\nE()", [" "]),
        ("import asyncio\nasync def f(): return 5\nawait f()", ["5"]),
        ("import asyncio\nasync def f(): return 5\nawait f();", []),
        ("try:\n    6 * 7\nfinally:\n    pass", []),
    ],
)
async def test_the_last_expression_is_shown_as_in_a_notebook(run: Runner, code: str, shown: list[str]) -> None:
    result = await run(code)
    assert (result.status, texts(result), result.stderr) == ("ok", shown, "")


async def test_the_value_is_told_apart_from_what_was_displayed(run: Runner) -> None:
    assert [shown.is_value for shown in (await run("display(1)\n2")).displays] == [False, True]


async def test_what_is_printed_and_shown_keeps_its_order(run: Runner) -> None:
    order: list[Any] = []
    code = (
        "import sys\nfor n in range(5):\n    print(n)\n    display(-n)\n    print('e', file=sys.stderr)\n    display('x')\nprint('end')\n0"
    )
    assert (await run(code, order=order)).ok
    rounds = [step for n in range(5) for step in (("stdout", f"{n}\n"), str(-n), ("stderr", "e\n"), "'x'")]
    assert order == [*rounds, ("stdout", "end\n"), "0"]


async def test_long_containers_are_set_line_by_line_and_long_texts_cut(run: Runner) -> None:
    assert texts(await run("{'a' * 40: 1, 'b' * 40: 2}")) == ["{'" + "a" * 40 + "': 1,\n '" + "b" * 40 + "': 2}"]
    (text,) = texts(await run("'x' * 1_000_000"))
    assert len(text) < 70_000
    assert "[… 934466 characters left out …]" in text


async def test_pictures_come_checked(run: Runner) -> None:
    code = f"""
import base64
class P:
    def _repr_png_(self): return {png(40, 30)!r}
class J:
    def _repr_mimebundle_(self, include=None, exclude=None): return {{"image/jpeg": base64.b64encode({jpeg(300, 200)!r}).decode()}}, {{}}
class S:
    def _repr_svg_(self): return {SVG.decode()!r}
display(P(), J(), S())
"""
    result = await run(code)
    pictures = [shown.picture for shown in result.displays]
    assert [(each.kind, each.width, each.height) for each in pictures if each] == [("png", 40, 30), ("jpeg", 300, 200), ("svg", None, None)]
    assert result.displays_dropped == 0


async def test_html_is_sent_only_when_it_is_trusted(run: Runner) -> None:
    code = "class H:\n    def _repr_html_(self): return '<b>hi</b>'\n    def __repr__(self): return 'H'\nH()"
    (plain,) = (await run(code)).displays
    (trusted,) = (await run(code, trust_html=True)).displays
    assert (plain, trusted.html) == (Display("H", is_value=True), "<b>hi</b>")


async def test_a_value_that_cannot_be_drawn_is_shown_as_text_and_says_why(run: Runner) -> None:
    result = await run("class B:\n    def _repr_png_(self): 1/0\n    def __repr__(self): return 'B'\nB()")
    assert (result.status, texts(result)) == ("ok", ["B"])
    assert "ZeroDivisionError" in result.stderr
    assert "gleitzeit" not in result.stderr


async def test_a_value_that_has_no_text_is_the_codes_error(run: Runner) -> None:
    result = await run("class B:\n    def __repr__(self): 1/0\nB()")
    assert (result.status, result.detail, texts(result)) == ("error", "raised ZeroDivisionError", [])
    assert "gleitzeit" not in result.traceback


async def test_an_object_that_answers_to_every_name_is_shown_as_text(run: Runner) -> None:
    assert (await run("from unittest.mock import MagicMock\nMagicMock()")).displays[0].text.startswith("<MagicMock")


async def test_a_forked_process_prints_what_it_would_show(run: Runner) -> None:
    result = await run("import os\npid = os.fork()\ndisplay(7)\nif pid: os.waitpid(pid, 0)\nelse: os._exit(0)")
    assert (result.stdout, texts(result)) == ("", ["7"]) or (result.stdout, texts(result)) == ("7\n", ["7"])


async def test_too_many_displays_are_counted(run: Runner) -> None:
    result = await run("for n in range(1000): display(n)")
    assert (len(result.displays), result.displays_dropped) == (protocol.MAX_DISPLAYS, 1000 - protocol.MAX_DISPLAYS)


async def test_displays_above_the_allowance_are_counted_and_outputs_still_come(run: Runner) -> None:
    result = await run("for n in range(4): display('x' * 400)\ny = 5", limits={"display_bytes": 1000}, outputs=("y",))
    assert (result.status, len(result.displays), result.displays_dropped, result.outputs) == ("ok", 2, 2, {"y": 5})


FRAME = """
class Places:
    def __init__(self, frame): self.frame = frame
    def __getitem__(self, key):
        rows, columns = key
        if isinstance(rows, slice): return Column(self.frame.data[self.frame.columns[columns]], self.frame.dtype)
        names = [self.frame.columns[place] for place in columns]
        return Frame({name: [self.frame.data[name][row] for row in rows] for name in names}, [self.frame.index[row] for row in rows])
class Names(list):
    def tolist(self): return list(self)
class Index(Names):
    names = [None]
class Column(Names):
    def __init__(self, values, dtype): super().__init__(values); self.dtype = dtype
class Frame:
    dtype = "float64"
    def __init__(self, data, index):
        self.data, self.columns, self.index, self.shape = data, Names(data), Index(index), (len(index), len(data))
    iloc = property(Places)
    def __repr__(self): return "a frame"
Frame.__module__ = "pandas.core.frame"
"""


async def test_a_frame_is_a_table_of_plain_cells_with_its_middle_left_out(run: Runner) -> None:
    result = await run(FRAME + "Frame({f'c{n}': [n + 0.5] * 1000 for n in range(30)}, range(1000))")
    (shown,) = result.displays
    table = shown.table
    assert table is not None
    assert (table.total_rows, table.total_columns, table.row_gap, table.column_gap) == (1000, 30, 5, 10)
    assert table.labels == (0, 1, 2, 3, 4, 995, 996, 997, 998, 999)
    assert table.columns[10] == Column("c20", "float64")
    assert table.drawn()[0][:2] == ["", "c0"]
    assert table.drawn()[6] == ["…"] * 22
    assert shown.text == "a frame"


@pytest.mark.parametrize(
    ("code", "drawn"),
    [
        ("[{'a': 1, 'b': 2.5}, {'a': None, 'c': 'x'}]", [["a", "b", "c"], ["1", "2.5", "None"], ["None", "None", "x"]]),
        ("[{'a': 1}, 2]", None),
        ("[{1: 1}]", None),
        ("[{'a': [1]}]", None),
        ("[{}]", None),
        ("[]", None),
        ("[{str(n): n for n in range(100)}]", None),
    ],
)
async def test_a_list_of_flat_dictionaries_is_a_table(run: Runner, code: str, drawn: Any) -> None:
    (shown,) = (await run(code)).displays
    assert (shown.table.drawn() if shown.table else None) == drawn


async def test_real_pandas_and_matplotlib_are_shown_where_they_are(run: Runner) -> None:
    pytest.importorskip("matplotlib")
    code = """
import matplotlib.pyplot as plt, pandas
display(pandas.Series([1.5, 2.25], index=["x", "y"], name="s"))
plt.plot([1, 2]); plt.show()
figure, axes = plt.subplots()
display(figure)
plt.figure()
pandas.DataFrame({"t": pandas.to_datetime(["2026-01-05"]), "n": [1]})
"""
    result = await run(code, limits={"timeout_s": 120})
    kinds = [shown.picture.kind if shown.picture else "table" if shown.table else "text" for shown in result.displays]
    assert (result.status, result.stderr) == ("ok", "")
    assert kinds == ["table", "png", "png", "table", "png"]
    assert result.displays[0].table is not None
    assert result.displays[0].table.drawn() == [["", "s"], ["x", "1.50"], ["y", "2.25"]]
