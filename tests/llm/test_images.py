"""Pictures of every kind become what Ollama takes; what is none is refused in words."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gleitzeit_nb.llm import images
from gleitzeit_nb.llm.asking import request_from
from gleitzeit_nb.llm.images import dimensions, encoded, picture, png_of


def pixels_of(png: bytes) -> Any:
    """A PNG of ours read back, by the standard's own words."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, rest) == (8, [0, 0, 0])
    channels = {0: 1, 2: 3, 6: 4}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((height, width) if channels == 1 else (height, width, channels))


PNG = png_of(np.array([[0, 255], [7, 9]], np.uint8))
TEXT = base64.b64encode(PNG).decode()


@given(
    st.one_of(
        arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)),
        arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 4]))),
    )
)
def test_an_array_comes_back_from_its_png_as_it_was(array: Any) -> None:
    png = png_of(array)
    assert np.array_equal(pixels_of(png), array)
    assert dimensions(png) == (array.shape[1], array.shape[0])


def test_floats_bools_views_and_single_channels_are_pixels_too() -> None:
    assert pixels_of(png_of(np.array([[0.0, 0.5, 1.0]]))).tolist() == [[0, 128, 255]]
    assert pixels_of(png_of(np.array([[True, False]]))).tolist() == [[255, 0]]
    turned = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::-1]
    assert np.array_equal(pixels_of(png_of(turned)), turned)
    assert pixels_of(png_of(np.zeros((2, 3, 1), np.float32))).shape == (2, 3)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 2), np.int64), "int64"),
        (np.array([[0.0, 255.0]]), "from 0 to 255"),
        (np.array([[0.0, np.nan]]), "nan"),
        (np.zeros((2, 2, 2), np.uint8), r"shape \(2, 2, 2\)"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "10000 × 10000 pixels"),
    ],
)
def test_an_array_that_is_no_picture_says_why(array: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        picture(array)


class Drawing:
    """Stands for a matplotlib figure."""

    def savefig(self, buffer: Any, *, format: str) -> None:  # noqa: A002 - matplotlib's own word
        assert format == "png"
        buffer.write(PNG)


class Photo:
    """Stands for a PIL image."""

    size = (2, 2)

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def convert(self, mode: str) -> Photo:
        return Photo(mode)

    def save(self, buffer: Any, *, format: str) -> None:  # noqa: A002 - PIL's own word
        assert (format, self.mode) == ("PNG", "RGB")
        buffer.write(PNG)


class Shown:
    def _repr_png_(self) -> bytes:
        return PNG


@pytest.mark.parametrize(
    "value",
    [PNG, bytearray(PNG), memoryview(PNG), TEXT, Drawing(), SimpleNamespace(figure=Drawing()), Photo("RGB"), Photo("CMYK"), Shown()],
    ids=["bytes", "bytearray", "memoryview", "base64", "figure", "axes", "rgb", "cmyk", "repr"],
)
def test_every_kind_of_picture_becomes_base64(value: Any) -> None:
    assert encoded(value) == (TEXT,)


def test_a_file_is_read_by_path_or_text(tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(PNG)
    assert encoded([file, str(file)]) == (TEXT, TEXT)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://example.com/a.png", "nothing is fetched"),
        ("data:image/png;base64,AAAA", "nothing is fetched"),
        ("cats.png", "no file 'cats.png'"),
        ("cats", "no file 'cats'"),
        (Path("/nowhere/cats.png"), "cannot be read"),
        (b"%PDF-1.7", "PNG, JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG, JPEG"),
        (3, "int is not a picture"),
        (object(), "object is not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(value: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        picture(value)


def test_a_file_that_is_no_picture_is_not_sent(tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    with pytest.raises(ValueError, match="no picture"):
        picture(secret)


def test_a_picture_may_not_be_heavy_nor_claim_to_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = PNG[:16] + struct.pack(">II", 60_000, 60_000) + PNG[24:]
    with pytest.raises(ValueError, match="60000 × 60000"):
        picture(claims)
    monkeypatch.setattr(images, "MAX_BYTES", 32)
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    for value in (PNG, file, TEXT):
        with pytest.raises(ValueError, match="MiB"):
            picture(value)


HEADERS = {
    "gif": b"GIF89a" + struct.pack("<HH", 3, 2),
    "bmp": b"BM" + bytes(16) + struct.pack("<ii", 3, -2),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 2, 3) + bytes(6),
    "webp lossy": b"RIFF....WEBPVP8 " + bytes(10) + struct.pack("<HH", 3, 2),
    "webp lossless": b"RIFF....WEBPVP8L" + bytes(5) + struct.pack("<I", 2 | 1 << 14),
    "webp extended": b"RIFF....WEBPVP8X" + bytes(8) + b"\x02\0\0\x01\0\0",
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS)
def test_the_size_stands_in_each_formats_header(data: bytes) -> None:
    assert dimensions(data) == (3, 2)


@given(st.sampled_from([PNG, *HEADERS.values()]), st.integers(0, 40), st.binary(max_size=12))
def test_no_header_however_broken_is_an_error(data: bytes, end: int, more: bytes) -> None:
    found = dimensions(data[:end] + more)
    assert found is None or all(each >= 0 for each in found)


def test_pictures_join_the_request_and_those_of_a_dialogue_are_never_paths(tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(PNG)
    asked = request_from("r", "chat", "llava", messages=[{"role": "user", "content": "?", "images": [PNG, str(file)]}], images=Drawing())
    assert asked.messages[0]["images"] == [TEXT, str(file), TEXT]
    assert request_from("r", "generate", "llava", prompt="?", images=[PNG]).images == (TEXT,)
