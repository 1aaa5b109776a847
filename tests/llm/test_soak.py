"""A while of everything at once; `make soak` does it for ten minutes."""

from __future__ import annotations

import sys

import pytest

from tests.soak import soak
from tests.support.ci_rules import in_ci

SECONDS = 30.0 if in_ci() else 9.0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is left is read from Linux's /proc")
def test_a_soak_ends_with_every_request_accounted_for_and_nothing_left() -> None:
    tally = soak(seed=1, seconds=SECONDS)
    print(*tally.lines(), sep="\n")
    assert not tally.wrong
    assert tally.begun > 20 * SECONDS
    assert tally.endings["reply"] > tally.begun / 4
