"""Values cross as data and come back equal; what is no data is refused with a sentence; hostile bytes are refused, never parsed."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import pickle
import struct
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.errors import TransferError
from gleitzeit_nb.sandbox import codec, protocol
from gleitzeit_nb.sandbox.displays import DisplayReader
from gleitzeit_nb.sandbox.values import ReportReader, check_names, encode_inputs

ALL = ("numpy", "pandas")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4),
    max_leaves=20,
)


def there_and_back(value: Any) -> Any:
    return codec.decode(*codec.encode(value))


# -- what crosses -------------------------------------------------------------------------------------------------------------


@given(PLAIN)
def test_plain_values_come_back_equal(value: Any) -> None:
    assert there_and_back(value) == value


@pytest.mark.parametrize("value", [b"\x00\xff", "", "grüße\n", 2**200, -0.0, math.inf, [1, [2, {"a": None}]]])
def test_values_keep_their_type(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_tuples_become_lists_and_numpy_numbers_plain_ones() -> None:
    assert there_and_back((1, (2.5, "x"))) == [1, [2.5, "x"]]
    assert there_and_back({"n": numpy.int64(3), "x": numpy.float32(0.5), "b": numpy.bool_(True)}) == {"n": 3, "x": 0.5, "b": True}


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6, dtype="<i4").reshape(2, 3),
        numpy.arange(6, dtype=">f8").reshape(3, 2).T,
        numpy.zeros((0, 3), dtype="uint8"),
        numpy.array([True, False]),
        numpy.array(["ab", "ü"]),
        numpy.array(["2026-01-05"], dtype="datetime64[D]"),
        numpy.array([1 + 2j]),
        numpy.arange(10)[::2],
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_equal(array: Any) -> None:
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert (back == array).all()
    assert back.flags.writeable


def test_arrays_are_real_npy_files() -> None:
    import io

    array = numpy.arange(6.0).reshape(2, 3)
    assert (numpy.load(io.BytesIO(codec.encode(array)[1]), allow_pickle=False) == array).all()


def test_frames_come_back_equal() -> None:
    frame = pandas.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.5, math.nan, 2.0],
            "s": ["a", None, "c"],
            "t": pandas.to_datetime(["2026-01-05"] * 3),
            "b": [True, False, True],
        }
    )
    pandas.testing.assert_frame_equal(there_and_back(frame), frame)


def test_frames_keep_index_column_names_and_order() -> None:
    frame = pandas.DataFrame([[1, "x", 2.5]] * 2, columns=["b", 7, "b"], index=pandas.Index(["r1", "r2"], name="row"))
    back = there_and_back(frame)
    assert list(back.columns) == ["b", 7, "b"]
    assert list(back.index) == ["r1", "r2"]
    assert back.index.name == "row"
    assert back.iloc[1].tolist() == [1, "x", 2.5]


@pytest.mark.parametrize(
    "column",
    [
        pandas.array([1, None, 3], dtype="Int64"),
        pandas.array([1, 2, 3], dtype="UInt8"),
        pandas.array([0.5, None, 2.0], dtype="Float64"),
        pandas.array([True, None, False], dtype="boolean"),
        pandas.array(["a", None, "ü"], dtype="string"),
        pandas.to_datetime(["2026-01-05", None, "2026-07-05"], utc=True),
        pandas.to_datetime(["2026-01-05", "2026-03-29", "2026-07-05"]).tz_localize("Europe/Berlin"),
        pandas.to_timedelta([1, 2, None], unit="s"),
        numpy.array([1, 2, 3], dtype="int16"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_columns_keep_their_type(column: Any) -> None:
    frame = pandas.DataFrame({"a": column})
    pandas.testing.assert_frame_equal(there_and_back(frame), frame)
    pandas.testing.assert_series_equal(there_and_back(frame["a"]), frame["a"])
    indexed = pandas.DataFrame({"n": [1, 2, 3]}, index=pandas.Index(column, name="i"))
    pandas.testing.assert_frame_equal(there_and_back(indexed), indexed)


@pytest.mark.parametrize(
    "frame", [pandas.DataFrame(), pandas.DataFrame({"a": []}), pandas.DataFrame(index=[3, 4])], ids=["none", "rows", "columns"]
)
def test_empty_frames_keep_their_shape(frame: Any) -> None:
    assert there_and_back(frame).shape == frame.shape


def test_series_come_back_equal() -> None:
    series = pandas.Series([1.5, 2.5], index=["a", "b"], name="x")
    pandas.testing.assert_series_equal(there_and_back(series), series)


# -- what does not ------------------------------------------------------------------------------------------------------------


class Foreign:
    pass


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Foreign(), "type Foreign"),
        ({1: "a"}, "key of type int"),
        ({"a": [1, {2, 3}]}, "its part ['a'][1] is of type set"),
        (datetime.date(2026, 1, 5), "type date"),
        ("\ud800", "surrogate"),
        (nested(200), "nested deeper"),
        (numpy.array([Foreign()]), "dtype object"),
        (numpy.ma.masked_array([1], mask=[True]), "masked"),
        (numpy.zeros(2, dtype=[("a", "i4")]), "no plain data"),
        (pandas.DataFrame({"a": [Foreign()]}), "column 'a' holds Foreign"),
        (pandas.DataFrame({"a": pandas.Categorical(["x"])}), "column 'a' is categorical; use .astype(str)"),
        (pandas.DataFrame({"a": pandas.period_range("2026", periods=1)}), "column 'a' is of type period"),
        (pandas.DataFrame({"a": pandas.arrays.SparseArray([0, 1])}), "column 'a' is of type Sparse"),
        (pandas.DataFrame({"a": pandas.interval_range(0, 1)}), "column 'a' is of type interval"),
        (pandas.DataFrame({"a": [[1]]}), "column 'a' holds list"),
        (pandas.DataFrame({"a": [1]}, index=pandas.CategoricalIndex(["x"])), "of the index is categorical"),
        (pandas.DataFrame({"a": [1]}, index=pandas.MultiIndex.from_tuples([(1, 2)])), "several levels"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_data_is_refused_with_the_reason(value: Any, says: str) -> None:
    with pytest.raises(TransferError, match="cannot be passed into the sandbox as data") as caught:
        encode_inputs({"x": value}, 1 << 20, ALL)
    assert says in str(caught.value)


def test_a_value_above_its_limit_is_refused() -> None:
    with pytest.raises(TransferError, match="takes 2000 bytes, and a value may take 1000"):
        encode_inputs({"x": b"x" * 2000}, 1000, ())


def test_a_package_that_the_guest_lacks_is_named() -> None:
    with pytest.raises(TransferError, match=r"'x' needs numpy inside the sandbox.*tolist"):
        encode_inputs({"x": numpy.arange(3)}, 1000, ())


@pytest.mark.parametrize("name", ["", "a b", "1a", "class", "a.b", "x;import os"])
def test_names_that_no_variable_can_have_are_refused(name: str) -> None:
    with pytest.raises(TransferError, match="no variable name"):
        check_names([name], "in")


# -- hostile bytes ------------------------------------------------------------------------------------------------------------


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps(1)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", b"x" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", b"x" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", b"x" * 8),
        npy("{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}", b"x" * 8),
        npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}", b"x" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", b"x" * 8),
        npy("{'descr': '<M8[hell]', 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
        npy("__import__('os').system('true')"),
        npy("(" * 2000),
        npy("{" + "0:[" * 900),
        npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1,)}"),
    ],
)
def test_impossible_arrays_are_refused(data: bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(codec.NPY, data)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{", b"\xff", b" " * (codec.MAX_JSON_BYTES + 1)], ids=lambda data: repr(data[:4]))
def test_impossible_json_is_refused(data: bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(codec.JSON, data)


def table(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + data


GOOD = {"rows": 1, "series": False, "columns": [{"name": "a", "kind": "json", "bytes": 3, "dtype": ""}], "index": None}


def test_a_good_table_is_read() -> None:
    assert codec.decode(codec.FRAME, table(GOOD, b"[1]")).to_dict("list") == {"a": [1]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff{}",
        table([]),
        table({**GOOD, "rows": 2}, b"[1]"),
        table({**GOOD, "rows": -1}, b"[1]"),
        table({**GOOD, "rows": "1"}, b"[1]"),
        table({**GOOD, "series": 1}, b"[1]"),
        table({**GOOD, "columns": []}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 3, "dtype": "category"}]}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 3, "dtype": ["string"]}]}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 5, "dtype": "Int8"}]}, b"[999]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 5, "dtype": "boolean"}]}, b'["x"]'),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 3, "dtype": "datetime64[ns, ../../etc/passwd]"}]}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 3, "dtype": "datetime64[ns, No/Where]"}]}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 5, "dtype": "datetime64[ns, UTC]"}]}, b"[1e9]"),
        table({**GOOD, "columns": [{"name": [1], "kind": "json", "bytes": 3, "dtype": ""}]}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "frame", "bytes": 3, "dtype": ""}]}, b"[1]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": -3, "dtype": ""}]}, b"[1]"),
        table({**GOOD, "series": True, "columns": []}),
        table(GOOD, b"[1]more"),
        table(GOOD, b"[[]"),
        table({**GOOD, "columns": [{"name": "a", "kind": "json", "bytes": 5, "dtype": ""}]}, b"[[1]]"),
        table({**GOOD, "index": {"name": None, "kind": "json", "bytes": 7, "dtype": ""}}, b"[1][1, 2]"),
    ],
)
def test_impossible_tables_are_refused(data: bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(codec.FRAME, data)


@settings(max_examples=300)
@given(st.sampled_from([*codec.KINDS, "pickle"]), st.binary(max_size=200))
def test_random_bytes_decode_or_are_refused(kind: str, data: bytes) -> None:
    with contextlib.suppress(codec.CodecError):
        codec.decode(kind, data)


# -- the report of the code's process ------------------------------------------------------------------------------------------


def value(name: str, data: bytes, kind: str = "bytes", size: int | None = None) -> bytes:
    header = {"name": name, "kind": kind, "bytes": len(data) if size is None else size}
    return protocol.json_frame(protocol.VALUE, header) + protocol.frame(protocol.DATA, data)


def read(stream: bytes, outputs: tuple[str, ...] = ("x", "y"), value_bytes: int = 100) -> Any:
    reader = ReportReader(outputs, value_bytes, DisplayReader(1000))
    reader.feed(stream)
    return reader.finish()


def test_a_report_is_read_in_any_pieces() -> None:
    stream = value("x", b"one") + protocol.json_frame(protocol.FAULT, {"type": "E", "text": "t"}) + value("y", b"")
    reader = ReportReader(("x", "y"), 100, DisplayReader(1000))
    for byte in stream:
        reader.feed(bytes([byte]))
    report = reader.finish()
    assert (report.outputs, report.fault_type, report.traceback, report.refused) == ({"x": b"one", "y": b""}, "E", "t", {})


@pytest.mark.parametrize(
    "stream",
    [
        b"garbage",
        value("z", b"unasked"),
        value("y", b"1") + value("y", b"2"),
        value("x", b"1", size=1000),
        value("x", b"1", size=-1),
        value("x", b"longer", size=2),
        value("x", b"1", kind="pickle"),
        protocol.json_frame(protocol.VALUE, {"name": "x", "kind": "bytes", "bytes": 5, "dtype": ""}) + value("y", b"1"),
        protocol.frame(protocol.DATA, b"1"),
        protocol.frame(protocol.VALUE, b"[]"),
        protocol.frame(protocol.FAULT, b"{}"),
        protocol.frame(protocol.EXIT, b"{}"),
        b"D\xff\xff\xff\xff",
    ],
)
def test_a_malformed_report_loses_its_value_and_nothing_else(stream: bytes) -> None:
    report = read(stream)
    assert "x" not in report.outputs
    assert "x" in report.refused


@given(st.binary(max_size=300))
def test_no_report_raises(stream: bytes) -> None:
    read(stream)


def test_text_of_a_report_can_always_be_printed() -> None:
    report = read(protocol.json_frame(protocol.FAULT, {"type": "\ud800", "text": "\udfff"}))
    assert (report.fault_type + report.traceback).encode("utf-8")
