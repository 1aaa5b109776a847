"""What a recording keeps of an error, and the same error again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb import errors
from gleitzeit_nb.core.kept_failures import KeptFailure
from gleitzeit_nb.errors import PoolError

NOT_OF_A_REQUEST = {errors.ReplayMissError, errors.SchemaMismatchError, errors.UpkeepError, errors.AnswersFailedError}
NOT_OF_A_REQUEST |= {errors.RequestCancelledError}  # somebody's wish, which a recording does not hold


def family(kind: type[PoolError]) -> set[type[PoolError]]:
    return {kind}.union(*(family(each) for each in kind.__subclasses__()))


KINDS = sorted(
    (each for each in family(PoolError) - NOT_OF_A_REQUEST if each.__module__ == errors.__name__), key=lambda each: each.__name__
)
texts = st.text()
rows = st.lists(st.tuples(texts, texts), max_size=3)


def made(kind: type[PoolError], message: str, table: list[tuple[str, str]], partial: str) -> PoolError:
    ways: list[tuple[list[Any], dict[str, Any]]] = [([table], {}), ([], {"instance": "a", "partial": partial})]
    for more, keywords in (*ways, ([], {"instance": "a", "status": 418})):
        try:
            return kind(message, *more, **keywords)
        except TypeError:
            continue
    return kind(message)


@pytest.mark.parametrize("kind", KINDS)
@given(texts, rows, texts)
def test_every_error_of_a_request_comes_back_as_it_was(
    kind: type[PoolError], message: str, table: list[tuple[str, str]], partial: str
) -> None:
    error = made(kind, message, table, partial)
    again = KeptFailure.read(json.loads(json.dumps(KeptFailure.of(error).plain()))).error()
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
names = st.sampled_from(["kind", "message", "rows", "partial", "instance", "status"])
kinds = st.sampled_from([each.__name__ for each in KINDS])


@given(json_values | st.dictionaries(names, json_values | kinds))
def test_anything_else_is_refused_or_read_and_never_a_surprise(plain: Any) -> None:
    try:
        kept = KeptFailure.read(plain)
    except ValueError:
        return
    assert isinstance(kept.error(), PoolError)


def test_an_error_that_is_not_known_here_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'NewError', which is not known here"):
        KeptFailure.read({"kind": "NewError", "message": "x"})
