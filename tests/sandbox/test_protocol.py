"""Frames come out as they went in, in any pieces; what is not allowed is refused before it is buffered. The guest runs on old Pythons."""

from __future__ import annotations

import ast
import json
import marshal
import subprocess
import sys
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.sandbox import protocol
from gleitzeit_nb.sandbox.bundle import BOOTSTRAP, MODULES, guest_code, guest_command, guest_source
from gleitzeit_nb.sandbox.jail.commands import LOADER
from gleitzeit_nb.sandbox.jail.commands import program as loader_of
from gleitzeit_nb.sandbox.protocol import FrameError, FrameReader

SIZES = {b"a": 100, b"b": 0}


@given(st.lists(st.binary(max_size=100)), st.lists(st.integers(1, 50)))
def test_frames_come_whole_from_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(protocol.frame(b"a", payload) for payload in payloads)
    reader = FrameReader(SIZES)
    found, start = [], 0
    for cut in [*cuts, len(stream)]:
        found += reader.feed(stream[start : start + cut])
        start += cut
    assert found == [(b"a", payload) for payload in payloads]
    assert reader.pending == 0


@pytest.mark.parametrize("header", [b"z\0\0\0\0", b"a\0\0\0\x65", b"b\0\0\0\1", b"a\xff\xff\xff\xff"])
def test_what_is_not_allowed_is_refused_at_its_header(header: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader(SIZES).feed(header)


@given(st.binary(max_size=500))
def test_no_more_than_one_frame_is_ever_buffered(data: bytes) -> None:
    reader = FrameReader(SIZES)
    try:
        reader.feed(data)
    except FrameError:
        return
    assert reader.pending <= 5 + 100


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        protocol.json_payload(payload)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_a_plain_frame_is_a_json_frame(content: dict[str, object]) -> None:
    assert protocol.json_payload(protocol.plain_frame(b"a", content)[5:]) == content


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_a_run_s_header_is_read_in_both_of_its_forms(header: dict[str, object]) -> None:
    assert protocol.run_header(json.dumps(header).encode()) == header
    assert protocol.run_header(marshal.dumps((header,))) == header


def test_chunks_cover_the_data() -> None:
    pieces = protocol.chunks(b"a", b"x" * 250, 100)
    assert [payload for piece in pieces for _, payload in FrameReader(SIZES).feed(piece)] == [b"x" * 100, b"x" * 100, b"x" * 50]
    assert protocol.chunks(b"a", b"", 100) == []


@pytest.mark.parametrize("name", MODULES)
def test_the_guest_keeps_to_old_pythons_and_the_standard_library(name: str) -> None:
    source = resources.files("gleitzeit_nb.sandbox").joinpath(f"{name}.py").read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    optional = {"numpy", "pandas"} if name == "codec" else set()
    assert {each.partition(".")[0] for each in names} - sys.stdlib_module_names - optional <= {"gleitzeit_nb"}
    ours = {each for each in names if each.startswith("gleitzeit_nb")}
    assert ours <= {"gleitzeit_nb.sandbox", *(f"gleitzeit_nb.sandbox.{each}" for each in MODULES)}


def test_the_source_is_one_message_with_every_module() -> None:
    message = guest_source()
    assert int.from_bytes(message[:4], "big") == len(message) - 4
    assert [name.rpartition(".")[2] for name, _ in json.loads(message[4:])][2:] == list(MODULES)


def test_the_compiled_form_is_one_message_with_the_same_modules() -> None:
    message = guest_code()
    assert int.from_bytes(message[:4], "big") == len(message) - 4
    assert message[4:5] != b"["  # by which the guest tells the two apart
    modules = marshal.loads(message[4:])
    assert [name for name, _ in modules] == [name for name, _ in json.loads(guest_source()[4:])]
    assert {code.co_filename for _, code in modules} == {f"<{name}>" for name, _ in modules}


# What takes longer to import than everything that a guest needs before its first run.
SLOW = set("ast collections contextlib ctypes enum functools inspect json re signal struct traceback typing".split())


@pytest.mark.parametrize("program", ["guest", "preamble", "entry"])
def test_nothing_slow_is_imported_before_the_first_run(program: str) -> None:
    loader = LOADER.format(guest_code()[4:]) if program == "guest" else loader_of(program)
    isolated = [sys.executable, "-I", "-S", "-"]
    told = subprocess.run(isolated, input=f"{loader}\nprint(*sys.modules)", capture_output=True, text=True, timeout=60, check=True)
    imported = told.stdout.split()
    assert f"gleitzeit_nb.sandbox.{'' if program == 'guest' else 'jail.'}{program}" in imported
    assert SLOW.isdisjoint(imported)


def test_the_command_starts_python_isolated() -> None:
    command = guest_command("python3", work="/w", wiped=["/w"])
    assert command[:2] == ["python3", "-I"]
    started = command[-1].partition(BOOTSTRAP)[2]
    told = ast.literal_eval(started.strip().removeprefix("module.main(").removesuffix(")"))
    assert (told["work"], told["wiped"]) == ("/w", ["/w"])
