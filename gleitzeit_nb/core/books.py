"""Which lines each instance could ever serve: what a freed slot is offered to, without a look at everybody who waits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from gleitzeit_nb.core.candidates import may_ever, outlook
from gleitzeit_nb.core.instances import Instance
from gleitzeit_nb.core.lines import Book, Line


@dataclass
class Books:
    """A book per instance; none while nobody waits. They hold as long as what they were written from does (`hold`)."""

    _books: dict[Instance, Book] = field(default_factory=dict, init=False)
    _instances: Collection[Instance] = field(default=(), init=False)  # that they are of
    _outlooks: dict[Instance, tuple[object, ...]] = field(default_factory=dict, init=False)  # when they were written

    def __repr__(self) -> str:
        return f"<Books of {len(self._books)} instances>"

    def __len__(self) -> int:
        return len(self._books)

    def __getitem__(self, instance: Instance) -> Book:
        return self._books[instance]

    def get(self, instance: Instance) -> Book | None:
        return self._books.get(instance)

    def write(self, instances: Collection[Instance], lines: Collection[Line], now: float) -> None:
        """Anew, for these instances and lines."""
        self._instances = instances
        self._books = {instance: Book() for instance in instances} if lines else {}
        self._outlooks = {instance: outlook(instance, now) for instance in instances}
        for line in lines:
            self.register(line, len(lines))

    def register(self, line: Line, lines: int) -> None:
        """Take a line in. `lines`: how many there are."""
        for instance, book in self._books.items():
            if may_ever(line.needs, instance):
                book.add(line, lines)

    def hold(self, instance: Instance, instances: Collection[Instance], now: float) -> bool:
        """Nothing has changed since they were written that decides what this instance could ever serve."""
        return instance in self._books and self.know(instances) and self._outlooks[instance] == outlook(instance, now)

    def know(self, instances: Collection[Instance]) -> bool:
        return instances is self._instances or tuple(instances) == tuple(self._instances)

    def clear(self) -> None:
        self._books.clear()
