"""A picture is passed on only when every part of it is what it should be; nothing else of it is."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.pictures import MAX_SVG_BYTES, PictureError, PictureKind, checked
from tests.support.pictures import SIGNATURE, SVG, jpeg, jpeg_part, png, png_header, png_part


def test_a_real_png_is_passed_on_as_it_is() -> None:
    picture = checked("png", png(40, 30))
    assert (picture.kind, picture.width, picture.height, picture.data) == ("png", 40, 30, png(40, 30))


def test_pictures_of_a_real_library_pass() -> None:
    image = pytest.importorskip("PIL.Image")
    for kind in ("png", "jpeg"):
        data = io.BytesIO()
        image.new("RGB", (70, 50), "red").save(data, kind, dpi=(72, 72))
        picture = checked(kind, data.getvalue())  # type: ignore[arg-type]
        assert (picture.width, picture.height) == (70, 50)
        with image.open(io.BytesIO(picture.data)) as back:
            back.load()
            assert back.size == (70, 50)


def test_texts_profiles_and_animation_of_a_png_are_left_out() -> None:
    extra = png_part(b"tEXt", b"Comment\0<script>") + png_part(b"iCCP", b"x\0\0zz") + png_part(b"acTL", bytes(8))
    assert checked("png", png(extra=extra, end=b"<script>")).data == png()


def test_what_a_drawing_needs_stays() -> None:
    data = png(extra=png_part(b"gAMA", bytes(4)) + png_part(b"tRNS", bytes(6)))
    assert checked("png", data).data == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SIGNATURE,
        b"GIF89a" + bytes(100),
        png()[:-1],
        png(100_000, 100_000),
        png(16_384, 16_384),
        png(16_385, 1),
        png(header=png_header(0, 5)),
        png(header=png_header(2, 1, depth=3)),
        png(header=png_header(2, 1, colour=7)),
        png(header=png_header(rest=b"\x01\0\0")),
        png(header=png_header(rest=b"\0\0\x02")),
        png(header=b""),
        png(header=png_part(b"tEXt", b"first") + png_header()),
        png(header=png_header() + png_header()),
        png(header=png_part(b"IHDR", bytes(12))),
        png(extra=png_part(b"EVIL", b"needed")),
        png(extra=png_part(b"a b!")),
        png(extra=b"\x7f\xff\xff\xffIDAT"),
        png().replace(b"IDAT", b"iDAT"),
        SIGNATURE + png_header() + png_part(b"IEND"),
        SIGNATURE + png_header() + png_part(b"IDAT") * 30_000,
    ],
)
def test_a_false_png_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        checked("png", data)


def test_a_jpeg_loses_previews_and_comments_only() -> None:
    extra = jpeg_part(0xE1, b"Exif\0\0preview") + jpeg_part(0xFE, b"<script>")
    picture = checked("jpeg", jpeg(300, 200, extra=extra) + b"<script>")
    assert (picture.width, picture.height, picture.data) == (300, 200, jpeg(300, 200))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        jpeg()[:-2],
        jpeg(65_535, 65_535),
        jpeg(0, 5),
        jpeg(frame=0xC3),
        jpeg(extra=jpeg_part(0xC0, bytes(9))),
        jpeg(extra=b"\xff\xe1\xff\xff"),
        jpeg(extra=b"\xff\xe1\0\x01"),
        jpeg(extra=b"\xff\xd0\0\x02"),
        jpeg(extra=b"<script>"),
        jpeg(extra=jpeg_part(0xE1) * 30_000),
        b"\xff\xd8" + jpeg_part(0xE0) + b"\xff\xd9",
    ],
)
def test_a_false_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        checked("jpeg", data)


@pytest.mark.parametrize(
    "prologue",
    [b"", b"\xef\xbb\xbf \n", b'<?xml version="1.0"?>\n<!-- made by -->\n', b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C" "a.dtd">'],
)
def test_an_svg_is_taken_with_its_prologue(prologue: bytes) -> None:
    assert checked("svg", prologue + SVG).data.endswith(SVG)
    assert b"DOCTYPE" not in checked("svg", prologue + SVG).data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><svg></svg></html>",
        b"\xff<svg></svg>",
        b"<!--" + SVG,
        b"<?" * 50_000,
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG,
        b'<svg><!ENTITY a "b"></svg>',
        b"<svg>" + b" " * MAX_SVG_BYTES,
        b"<svgx></svgx>",
    ],
)
def test_a_false_svg_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        checked("svg", data)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    places = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)
    return places.map(lambda changes: bytes(dict(changes).get(place, byte) for place, byte in enumerate(data)))


@given(
    st.one_of(
        st.tuples(st.just("png"), damaged(png()) | st.binary(max_size=200).map(lambda data: SIGNATURE + data)),
        st.tuples(st.just("jpeg"), damaged(jpeg()) | st.binary(max_size=200).map(lambda data: b"\xff\xd8\xff" + data)),
        st.tuples(st.just("svg"), damaged(SVG) | st.binary(max_size=200)),
    )
)
def test_any_bytes_are_a_picture_or_a_picture_error(case: tuple[PictureKind, bytes]) -> None:
    with contextlib.suppress(PictureError):
        picture = checked(*case)
        assert checked(picture.kind, picture.data) == picture
