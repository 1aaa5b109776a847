"""Showing what changes: as often as its size allows, and the last state always."""

from __future__ import annotations

import asyncio

from gleitzeit_nb.jupyter.display.redraw import Redraw


class Shown:
    """A view that remembers what it sent; `state` is what there is to show."""

    def __init__(self, size_bytes: int) -> None:
        self.state = 0
        self.sent: list[int] = []
        self.size_bytes = size_bytes

    def send(self) -> int:
        if self.sent and self.sent[-1] == self.state:
            return 0
        self.sent.append(self.state)
        return self.size_bytes


async def change(shown: Shown, redraw: Redraw, times: int) -> float:
    """Changes in quick succession; how long they took (s)."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(1, times + 1):
        shown.state = number
        redraw.ask()
        await asyncio.sleep(0.01)
    return loop.time() - begun


async def until_shown(shown: Shown) -> None:
    async def arrived() -> None:
        while shown.sent[-1] != shown.state:  # noqa: ASYNC110 - the timer of the redraw is what is waited for
            await asyncio.sleep(0.02)

    await asyncio.wait_for(arrived(), 20)


async def test_the_first_goes_at_once_then_four_a_second_and_the_last_always() -> None:
    shown = Shown(10)
    redraw = Redraw(shown.send, bytes_per_s=1e6)
    shown.state = 1
    redraw.ask()
    assert shown.sent == [1]
    took_s = await change(shown, redraw, 60)
    assert len(shown.sent) <= 2 + took_s / 0.25
    await until_shown(shown)


async def test_what_is_large_goes_more_seldom() -> None:
    shown = Shown(10_000)
    redraw = Redraw(shown.send, bytes_per_s=10_000)
    took_s = await change(shown, redraw, 60)
    assert len(shown.sent) <= 1 + took_s
    await until_shown(shown)


async def test_what_has_not_changed_costs_no_waiting() -> None:
    shown = Shown(10)
    redraw = Redraw(shown.send, bytes_per_s=1e6)
    redraw.ask()
    await asyncio.sleep(0.3)
    redraw.ask()
    shown.state = 1
    redraw.ask()
    assert shown.sent == [0, 1]


async def test_after_its_end_nothing_is_sent() -> None:
    shown = Shown(10)
    redraw = Redraw(shown.send, bytes_per_s=1e6)
    redraw.ask()
    shown.state = 1
    redraw.ask()
    redraw.end()
    await asyncio.sleep(0.4)
    redraw.ask()
    assert shown.sent == [0]
