"""The limits of a restricted network, and the line about what was tried."""

from __future__ import annotations

import pytest

from gleitzeit_nb.core.network import MOST, NetworkLimits, NetworkRecord, size_text, summary


@pytest.mark.parametrize("name", MOST)
def test_every_limit_has_a_most_and_none_is_nothing(name: str) -> None:
    assert getattr(NetworkLimits(**{name: MOST[name]}), name) == MOST[name]  # type: ignore[arg-type]
    for wrong in (0, -1, MOST[name] + 1, float("nan")):
        with pytest.raises(ValueError, match=name):
            NetworkLimits(**{name: wrong})  # type: ignore[arg-type]


def test_the_line_names_each_destination_and_counts_the_rest() -> None:
    allowed, refused = NetworkRecord("a.org", 443, "allowed", "", 1, 10, 20), NetworkRecord("::1", 80, "refused", "", 3)
    failed = NetworkRecord("b", 80, "failed")
    assert summary([allowed, refused, failed]) == "a.org:443 allowed 30 B; [::1]:80 refused 3×; b:80 failed"
    assert summary([NetworkRecord(f"{n}.org", 443, "refused") for n in range(9)]).endswith("5.org:443 refused; 3 more")
    assert summary([]) == ""


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (12_345, "12 kB"), (256 << 20, "268 MB"), (10**12, "1000 GB")])
def test_sizes_are_short(count: int, text: str) -> None:
    assert size_text(count) == text
