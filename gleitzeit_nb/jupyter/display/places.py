"""What the displays show that go on changing, for a page that comes later.

After a reload a page does not know any more which of its outputs is which display. So an output that is not final carries its display's id
(metadata `gleitzeit_nb: {"live": ID}`), by which the page finds it, and by which it asks here what stands there now.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

KEY = "gleitzeit_nb"
WAITING: dict[str, Any] = {KEY: {"state": "waiting"}}
RUNNING: dict[str, Any] = {KEY: {"state": "running"}}
GOING_ON = frozenset({"waiting", "arriving", "running"})
MOST_ENDED = 200
ENDED_CHARS = 20_000_000  # of all that have ended; the newest is kept whatever its size


class Shown(NamedTuple):
    data: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def chars(self) -> int:
        return sum(len(text) for text in self.data.values() if isinstance(text, str))


class Places:
    """By display id. Told from any thread before something is sent, so that nobody is told less than was shown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # invariant: an id is in one of the two
        self._live: dict[str, Shown] = {}
        self._ended: dict[str, Shown] = {}  # oldest first

    def __repr__(self) -> str:
        return f"<Places {len(self._live)} live, {len(self._ended)} ended>"

    def put(self, place: str, data: dict[str, Any], metadata: dict[str, Any], *, final: bool = False) -> dict[str, Any]:
        """Remember what is shown there, and give its metadata as it is to be sent. `final`: whatever it says, nothing follows."""
        ours = metadata.get(KEY, {})
        if ours.get("state") not in GOING_ON:
            self._end(place, Shown(data, metadata))
            return metadata
        if final:
            rest = {name: value for name, value in ours.items() if name != "state"}
            marked = {**metadata, KEY: rest} if rest else {name: value for name, value in metadata.items() if name != KEY}
            self._end(place, Shown(data, marked))
            return marked
        marked = {**metadata, KEY: {**ours, "live": place}}
        with self._lock:
            self._ended.pop(place, None)
            self._live[place] = Shown(data, marked)
        return marked

    def is_live(self, place: str) -> bool:
        return place in self._live

    def now(self, places: Iterable[str]) -> dict[str, Shown]:
        """What those show that are known."""
        with self._lock:
            found = {place: self._live.get(place) or self._ended.get(place) for place in places}
        return {place: shown for place, shown in found.items() if shown is not None}

    def _end(self, place: str, shown: Shown) -> None:
        """What was never live is not asked for."""
        with self._lock:
            if self._live.pop(place, None) is None and self._ended.pop(place, None) is None:
                return
            self._ended[place] = shown
            chars = sum(each.chars for each in self._ended.values())
            while len(self._ended) > 1 and (len(self._ended) > MOST_ENDED or chars > ENDED_CHARS):
                chars -= self._ended.pop(next(iter(self._ended))).chars
