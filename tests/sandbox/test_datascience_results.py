"""The data stack's own objects out of the data-science image: drawn inside, checked here, and values with their types."""

from __future__ import annotations

from typing import Any

import pandas
import pytest

from gleitzeit_nb.core.execution import DATASCIENCE_IMAGE, DATASCIENCE_MODE
from gleitzeit_nb.sandbox import Sandbox

CODE = """
import numpy, pandas
import matplotlib.pyplot as plt
print("one")
display(pandas.DataFrame({"x": numpy.arange(100), "t": pandas.date_range("2026-01-01", periods=100)}))
plt.plot([1, 2, 3]); plt.show()
print("two")
figure, axes = plt.subplots(); axes.plot([3, 1])
figure.savefig("plot.png")
frame = pandas.DataFrame({"c": [0.5, None], "s": ["x", None], "i": pandas.array([1, None], dtype="Int64")})
frame["z"] = pandas.to_datetime(["2026-01-05", None], utc=True)
frame
"""


@pytest.mark.docker
async def test_frames_and_figures_are_shown_in_their_order_and_come_back_as_what_they_are(docker_daemon: Any) -> None:
    try:
        docker_daemon.images.get(DATASCIENCE_IMAGE)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the image cannot be had
        pytest.skip(f"{exc}: gleitzeit-nb images build datascience")
    shown: list[Any] = []
    async with Sandbox({"default_mode": DATASCIENCE_MODE}) as sandbox:
        result = await sandbox.execute(
            CODE,
            outputs=("frame",),
            artifacts=True,
            on_output=lambda _, text: shown.append(text),
            on_display=lambda each: shown.append(each.table.shape() if each.table else each.picture and each.picture.kind),
        )
    assert (result.status, result.stderr) == ("ok", "")
    assert shown == ["one\n", "100 rows × 2 columns", "png", "two\n", "2 rows × 4 columns", "png"]
    assert list(result.artifacts) == ["plot.png"]
    assert result.artifacts["plot.png"][:4] == b"\x89PNG"
    frame = result.outputs["frame"]
    assert [str(dtype) for dtype in frame.dtypes[["c", "i"]]] == ["float64", "Int64"]
    assert frame["z"][0] == pandas.Timestamp("2026-01-05", tz="UTC")
