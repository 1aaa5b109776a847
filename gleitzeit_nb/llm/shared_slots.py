"""The slots of a server, shared by all kernels of one user on one machine: a lock file per slot, and no process that minds them.

A slot is an exclusive `flock` on `slot-N`. The system drops it when its holder dies, however it dies. Beside the slots every pool keeps
a locked record whose name tells its `max_concurrent`: the smallest counts for all. A record that nobody locks is of a dead pool and
is removed by whoever comes across it. Pools without a limit lock `model-…` as well: one request per model, as without sharing.

A `flock` belongs to the open file, which a forked child shares: the child would hold it when the parent is long dead. So a child closes
its copies first of all (it must not *unlock* them, that would free the parent's). Programs that are started get none (close-on-exec).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gleitzeit_nb.core.instances import InstanceSettings
from gleitzeit_nb.core.sharing import LOOK_AGAIN_S, TURN_S, GiveBack, courtesy_s, smallest
from gleitzeit_nb.llm import slot_folder

try:
    import fcntl

    HAS_LOCKS = hasattr(os, "register_at_fork")
except ImportError:  # Windows
    HAS_LOCKS = False

logger = logging.getLogger("gleitzeit_nb.pool")

LOOK_S = 1.0  # a neighbour that died stops counting after this long
REJOIN_S = 30.0  # after trouble with the files, until sharing is tried again
WAITED_S = LOOK_AGAIN_S[1] + 0.05  # a neighbour that found no slot so recently waits for one
RECORD = "record"
PREFIX = "member-"
NO_LIMIT = 0

# Invariant: while nobody holds this, every open slot file stands in the files of a share in `_shares`, where a child finds it.
_forks = threading.RLock()
_shares: weakref.WeakSet[SharedSlots] = weakref.WeakSet()


class SharedSlots:
    """One pool's part in the slots of one server (a `SlotShare`). Made on the pool's loop, and used there only."""

    def __init__(self, root: Path, settings: InstanceSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._settings = settings
        self._clock = clock
        self._files: dict[str, int] = {}  # name -> descriptor
        self._folder: int | None = None  # a descriptor; None: not joined
        self._generation = 0  # of `_files`: what was held before they were given up is not given back after
        self._held: set[int] = set()
        self._record = ""
        self._neighbours: dict[str, int | None] = {}  # record -> its limit
        self._limit = settings.max_concurrent
        self._looked_at = float("-inf")
        self._folder_changed = 0
        self._rejoin_at = float("-inf")
        self._turn_began = float("-inf")
        self._closed = False
        with _forks:
            _shares.add(self)
        self._finalizer = weakref.finalize(self, _close_files, self._files)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._held)} held, {self.kernels} pools" if self._folder is not None else "not joined"
        return f"<SharedSlots {slot_folder.server_key(self._settings.url)} {state}>"

    @property
    def limit(self) -> int | None:
        return self._limit

    @property
    def kernels(self) -> int:
        """How many pools share the server, this one included."""
        return len(self._neighbours) + 1

    def take(self, model: str, slots: int, *, one_per_model: bool) -> GiveBack | None:
        """One of at most `slots` slots, as the way to give it back; None: others have them. Trouble with the files costs no request:
        then it goes on unshared."""
        for _ in range(2):
            if not self._joined():
                return _unshared
            try:
                return self._take(model, slots, one_per_model=one_per_model)
            except FileNotFoundError:
                self._forget()  # somebody cleared the folder away: begin anew
            except OSError as exc:
                self._give_up(exc)
        return _unshared

    def stand_back_s(self, now: float) -> float:
        """How long to leave a slot to others that was just given back."""
        if self._folder is None or not self._neighbours or now - self._turn_began < TURN_S:
            return 0.0
        away_s = courtesy_s(self._turn_began, now, others_wait=self._others_wait())
        if away_s:
            self._turn_began = now + away_s
        return away_s

    def close(self) -> None:
        """Give everything back. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._forget()

    # -- taking ---------------------------------------------------------------------------------------------------------------

    def _take(self, model: str, slots: int, *, one_per_model: bool) -> GiveBack | None:
        self._look()
        most = slots if self._limit is None else min(slots, self._limit)
        names: list[str] = []
        if one_per_model and self._limit is None:
            names.append(f"model-{hashlib.sha256(model.encode()).hexdigest()[:16]}")
        free = (index for index in range(most) if index not in self._held)
        if len(self._held) < most and all(map(self._lock, names)):
            for index in free:
                if self._lock(f"slot-{index}"):
                    return self._taken(index, (*names, f"slot-{index}"))
            self._unlock(names)
        os.utime(self._files[RECORD])  # whoever has the slots can see that somebody waits
        return None

    def _taken(self, index: int, names: tuple[str, ...]) -> GiveBack:
        now = self._clock()
        if not self._held and now - self._turn_began > TURN_S + WAITED_S:
            self._turn_began = now
        self._held.add(index)
        return partial(self._give_back, self._generation, index, names)

    def _give_back(self, generation: int, index: int, names: tuple[str, ...]) -> None:
        if generation != self._generation:
            return
        self._held.discard(index)
        try:
            self._unlock(names)
        except OSError as exc:
            self._give_up(exc)  # which closes the files, and so frees the slot as well

    def _lock(self, name: str) -> bool:
        """Without waiting. A file that was removed meanwhile is nobody's any more, and is made anew."""
        for _ in range(2):
            file = self._files.get(name)
            if file is None:
                file = self._open(name, os.O_CREAT)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if os.fstat(file).st_nlink:
                return True
            os.close(self._files.pop(name))
        return False

    def _unlock(self, names: list[str] | tuple[str, ...]) -> None:
        for name in names:
            fcntl.flock(self._files[name], fcntl.LOCK_UN)

    def _open(self, name: str, flags: int) -> int:
        with _forks:
            file = self._files[name] = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600, dir_fd=self._folder)
        return file

    # -- neighbours -----------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Who else is there, and what is the smallest limit? Read anew when somebody came or went, and from time to time."""
        folder = self._folder
        if folder is None:
            raise FileNotFoundError
        status = os.fstat(folder)
        if not status.st_nlink:
            raise FileNotFoundError
        now = self._clock()
        if status.st_mtime_ns == self._folder_changed and now - self._looked_at < LOOK_S:
            return
        self._folder_changed, self._looked_at = status.st_mtime_ns, now
        records = [name for name in os.listdir(folder) if name.startswith(PREFIX) and name != self._record]
        self._neighbours = {name: limit_in(name) for name in records if self._is_alive(name)}
        self._limit = smallest([self._settings.max_concurrent, *self._neighbours.values()])

    def _is_alive(self, record: str) -> bool:
        """Its owner holds a lock on it as long as it lives; what is left of a dead one is removed."""
        with _forks:
            try:
                file = os.open(record, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
            except FileNotFoundError:
                return False
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                _remove(record, self._folder)
            except BlockingIOError:
                return True
            finally:
                os.close(file)
        return False

    def _others_wait(self) -> bool:
        """Has one of them just found no slot? Files keep wall-clock time; were it set meanwhile, one look would be wrong."""
        since = time.time() - WAITED_S
        for record in self._neighbours:
            try:
                if os.stat(record, dir_fd=self._folder).st_mtime > since:
                    return True
            except OSError:  # it has just left
                continue
        return False

    # -- coming and going -----------------------------------------------------------------------------------------------------

    def _joined(self) -> bool:
        if self._closed:
            return False
        if self._folder is not None:
            return True
        if self._clock() < self._rejoin_at:
            return False
        try:
            self._join()
        except OSError as exc:
            self._give_up(exc)
            return False
        return True

    def _join(self) -> None:
        """Put up a record. It is locked before it gets its name, so that nobody takes it for a dead one's."""
        with _forks:
            self._folder = self._files["folder"] = slot_folder.open_folder(self._root, self._settings.url)
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            record = self._open(f"joining-{name}", os.O_CREAT | os.O_EXCL)
            self._files[RECORD] = self._files.pop(f"joining-{name}")
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.utime(record, (0, 0))  # it has not waited for anything yet
        self._record = record_name(name, self._settings.max_concurrent)
        os.rename(f"joining-{name}", self._record, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._looked_at = float("-inf")

    def _give_up(self, exc: OSError) -> None:
        self._forget()
        self._rejoin_at = self._clock() + REJOIN_S
        server = slot_folder.server_key(self._settings.url)
        _warn_once(f"the slots of {server} are not shared with other kernels: {exc}. Each kernel counts its own requests only")

    def _forget(self) -> None:
        """Close all files, which gives back what is held."""
        with _forks:
            if self._folder is not None and self._record:
                _remove(self._record, self._folder)
            self._lose()

    def _lose(self) -> None:
        _close_files(self._files)
        self._folder, self._record = None, ""
        self._generation += 1
        self._held.clear()
        self._neighbours.clear()
        self._limit = self._settings.max_concurrent

    def forget_in_child(self) -> None:
        """This is a forked child, which has copies of another process's files."""
        self._closed = True
        self._lose()


def record_name(name: str, limit: int | None) -> str:
    return f"{PREFIX}{name}-{limit or NO_LIMIT}"


def limit_in(record: str) -> int | None:
    """The limit that a record's name tells; what cannot be read tells none."""
    tail = record.rpartition("-")[2]
    return (int(tail) or None) if tail.isdecimal() and len(tail) < 10 else None


def sharer(share_slots: bool, clock: Callable[[], float]) -> Callable[[InstanceSettings], SharedSlots | None]:
    """What gives each instance its share; nothing where slots are not shared."""
    if not (share_slots and HAS_LOCKS):
        return lambda settings: None
    root = slot_folder.home()
    return lambda settings: SharedSlots(root, settings, clock=clock)


def problem() -> str:
    """Why slots cannot be shared here, and what to do; "" when they can."""
    if not HAS_LOCKS:
        return "this system has no flock: each kernel counts its own requests only"
    try:
        os.close(slot_folder.open_root(slot_folder.home()))
    except OSError as exc:
        return f"{exc}\nRemove it or give it to yourself (chmod 700), or set XDG_RUNTIME_DIR to a directory of your own"
    return ""


def _unshared() -> None:
    """Gives back a slot that was never taken from anybody."""


def _remove(name: str, folder: int | None) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _close_files(files: dict[str, int]) -> None:
    with _forks:
        while files:
            os.close(files.popitem()[1])


_told: set[str] = set()


def _warn_once(text: str) -> None:
    if text not in _told:
        _told.add(text)
        logger.warning(text)


def _in_child() -> None:
    for share in tuple(_shares):
        share.forget_in_child()
    _forks.release()


if HAS_LOCKS:
    os.register_at_fork(before=_forks.acquire, after_in_parent=_forks.release, after_in_child=_in_child)
