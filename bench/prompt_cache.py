"""What a server still knows of the prompts that it has read: one text for each slot.

A prompt that goes on where a text ends takes its place, any other the place that was not used for longest, as in Ollama's runner for
several users (`findBestCacheSlot` in its runner/ollamarunner/cache.go; that it also copies common beginnings is left out).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Place:
    text: str = ""
    busy: bool = False
    used: int = 0  # a count


@dataclass
class PromptCache:
    """`read` and `reused` count characters."""

    slots: int
    read: int = field(default=0, init=False)
    reused: int = field(default=0, init=False)
    _uses: int = field(default=0, init=False)
    _places: list[Place] = field(init=False)

    def __post_init__(self) -> None:
        self._places = [Place() for _ in range(self.slots)]

    def begin(self, prompt: str) -> tuple[Place, int]:
        """A place for it, and how many characters have to be read."""
        free = [place for place in self._places if not place.busy]
        known = [place for place in free if place.text and prompt.startswith(place.text)]
        place = max(known, key=lambda each: len(each.text)) if known else min(free, key=lambda each: each.used)
        reused = len(place.text) if known else 0
        self.reused += reused
        self.read += len(prompt) - reused
        place.busy = True
        return place, len(prompt) - reused

    def end(self, place: Place, text: str) -> None:
        """`text`: the prompt and its answer."""
        self._uses += 1
        place.text, place.busy, place.used = text, False, self._uses
