"""The limits of a restricted network, and the line about what was tried."""

from __future__ import annotations

import pytest

from gleitzeit_nb.core.network import MOST, NetworkLimits, NetworkRecord, summary


@pytest.mark.parametrize("name", MOST)
def test_every_limit_has_a_most_and_none_is_nothing(name: str) -> None:
    assert getattr(NetworkLimits(**{name: MOST[name]}), name) == MOST[name]  # type: ignore[arg-type]
    for wrong in (0, -1, MOST[name] + 1, float("nan")):
        with pytest.raises(ValueError, match=name):
            NetworkLimits(**{name: wrong})  # type: ignore[arg-type]


def test_the_line_names_each_destination_and_counts_the_rest() -> None:
    allowed, refused = NetworkRecord("a.org", 443, "allowed", "", 1, 10, 20), NetworkRecord("::1", 80, "refused", "", 3)
    failed = NetworkRecord("b", 80, "failed")
    assert summary([allowed, refused, failed]) == "a.org:443 allowed 30 bytes; [::1]:80 refused 3×; b:80 failed"
    assert summary([NetworkRecord(f"{n}.org", 443, "refused") for n in range(9)]).endswith("5.org:443 refused; 3 more")
    assert summary([]) == ""
