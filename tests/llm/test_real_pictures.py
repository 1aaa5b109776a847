"""Pictures of the real packages, Pillow and matplotlib: what reaches a server is what they show."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.llm.images import dimensions, encoded, picture
from tests.llm.conftest import pool_of
from tests.support.fake_ollama import FakeOllama

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
matplotlib.use("agg")

COLOURS = [[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(0, 0, 0), (128, 128, 128), (255, 255, 255)]]
PHOTO = Image.fromarray(np.array(COLOURS, np.uint8))


def opened(text: str) -> Any:
    return Image.open(io.BytesIO(base64.b64decode(text)))


WAYS = {"RGBa": ("RGBA", "RGBa"), "PA": ("RGBA", "PA")}


def shades(image: Any) -> list[int]:
    return [int(each) for each in np.asarray(image).ravel()]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV"])
def test_an_image_of_any_mode_keeps_its_colours(mode: str) -> None:
    image = PHOTO
    for step in WAYS.get(mode, (mode,)):
        image = image.convert(step)
    shown = opened(picture(image))
    assert (shown.format, shown.size) == ("PNG", (3, 2))
    expected = np.asarray(image.convert("RGBA").convert("RGB"), np.int16)
    assert np.abs(np.asarray(shown.convert("RGB"), np.int16) - expected).max() <= 2


def test_transparency_is_kept() -> None:
    half = PHOTO.convert("RGBA")
    half.putalpha(100)
    assert opened(picture(half)).getpixel((0, 0)) == (255, 0, 0, 100)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(np.array([[0, 65535]], np.uint16)), "from 0 to 65535"),
        (Image.fromarray(np.array([[0, 70000]], np.int32)), "from 0 to 70000"),
        (Image.fromarray(np.array([[0.0, 900.0]], np.float32)), "from 0 to 900"),
    ],
    ids=["I;16", "I", "F"],
)
def test_numbers_that_are_no_shades_are_refused_rather_than_cut_off(image: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        picture(image)


def test_shades_from_nought_to_one_are_a_picture() -> None:
    assert shades(opened(picture(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))))) == [0, 128, 255]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 400), height=st.integers(1, 400), how=st.sampled_from([{}, {"progressive": True}, {"lossless": True}]))
def test_the_size_in_a_header_is_that_of_the_picture(form: str, width: int, height: int, how: dict[str, Any]) -> None:
    for mode in ("RGB", "L", "RGBA"):
        buffer = io.BytesIO()
        Image.new("RGB" if form in ("JPEG", "BMP") and mode == "RGBA" else mode, (width, height)).save(buffer, form, **how)
        assert dimensions(buffer.getvalue()) == (width, height)
        assert opened(picture(buffer.getvalue())).size == (width, height)


def test_an_image_is_read_from_its_file_and_not_after_it_was_closed(tmp_path: Any) -> None:
    file = tmp_path / "photo.jpg"
    PHOTO.save(file)
    with Image.open(file) as image:
        assert opened(picture(image)).size == (3, 2)
    shut = Image.open(file)
    shut.close()
    with pytest.raises(ValueError, match="closed"):
        picture(shut)


def test_a_figure_its_axes_and_what_is_on_them_are_the_figure() -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(2, 1), dpi=50)
    (line,) = axes.plot([1, 2, 3])
    try:
        shown = [opened(picture(each)) for each in (figure, axes, line)]
    finally:
        pyplot.close(figure)
    assert {(each.format, each.size) for each in shown} == {("PNG", (100, 50))}
    assert len(set(shades(shown[0].convert("L")))) > 10, "it is not blank"


def test_a_figure_without_pyplot_is_one_too() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=40)
    figure.subplots().imshow(np.zeros((4, 4)))
    assert opened(picture(figure)).size == (40, 40)


def test_a_figure_that_is_too_large_is_refused() -> None:
    from matplotlib.figure import Figure

    with pytest.raises(ValueError, match="million is the most"):
        picture(Figure(figsize=(100, 100), dpi=100))


async def test_they_reach_a_server_as_pictures() -> None:
    from matplotlib.figure import Figure

    async with FakeOllama("a") as server, pool_of(server) as pool:
        await pool.chat("llama3.2", "What is this?", images=[PHOTO, Figure(figsize=(1, 1), dpi=30), np.asarray(PHOTO)])
    sent = server.asked[0].body["messages"][-1]["images"]
    assert [opened(each).size for each in sent] == [(3, 2), (30, 30), (3, 2)]
    assert np.array_equal(np.asarray(opened(sent[0])), np.asarray(opened(sent[2])))
    assert encoded(PHOTO) == tuple(sent[:1])
