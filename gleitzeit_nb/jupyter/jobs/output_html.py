"""What a run printed and showed, as one piece of HTML: for a place that is replaced as a whole. All of it is text or drawn by us."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Literal

from gleitzeit_nb.core.displays import Display
from gleitzeit_nb.core.plain import OutputText
from gleitzeit_nb.jupyter.sandbox.shown import mime_bundle

KEPT_CHARS = 100_000  # of all that was printed; the end tells most
_PRE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:0;padding:0 0 2px;font-size:inherit"
_ERROR = f"{_PRE};background:var(--jp-rendermime-error-background,#fdd)"

Stream = Literal["stdout", "stderr"]


class RunOutput:
    """In the order in which it came. Fed on one thread, read on any."""

    def __init__(self) -> None:
        self._pieces: list[tuple[Stream, str] | Display] = []
        self._texts: dict[Stream, OutputText] = {"stdout": OutputText(), "stderr": OutputText()}

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, piece: tuple[Stream, str] | Display) -> None:
        if isinstance(piece, Display):
            self._pieces.append(piece)
            return
        stream, text = piece
        shown = self._texts[stream].feed(text)
        if shown:
            self._pieces.append((stream, shown))

    def end(self) -> None:
        """No more comes: what was held back is shown."""
        self._pieces += [(stream, held) for stream, text in self._texts.items() if (held := text.flush())]

    @property
    def printed(self) -> str:
        """What stdout was given."""
        return "".join(piece[1] for piece in tuple(self._pieces) if not isinstance(piece, Display) and piece[0] == "stdout")

    def bundle(self) -> dict[str, Any]:
        """As HTML, and as text for readers without it."""
        blocks = _shortened(_joined(tuple(self._pieces)))
        markup = "".join(_block(block) for block in blocks)
        plain = "".join(block[1] if not isinstance(block, Display) else f"{mime_bundle(block)['text/plain']}\n" for block in blocks)
        return {"text/html": markup, "text/plain": plain.rstrip("\n")}


def _joined(pieces: Sequence[tuple[Stream, str] | Display]) -> list[tuple[Stream, str] | Display]:
    """Text of one stream in one block, as far as nothing else came between."""
    found: list[tuple[Stream, list[str]] | Display] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, Display):
            found.append(piece)
        elif last is not None and not isinstance(last, Display) and last[0] == piece[0]:
            last[1].append(piece[1])
        else:
            found.append((piece[0], [piece[1]]))
    return [each if isinstance(each, Display) else (each[0], overwritten("".join(each[1]))) for each in found]


def _shortened(blocks: list[tuple[Stream, str] | Display]) -> list[tuple[Stream, str] | Display]:
    """The last KEPT_CHARS of what was printed."""
    room = KEPT_CHARS
    kept: list[tuple[Stream, str] | Display] = []
    for block in reversed(blocks):
        if isinstance(block, Display):
            kept.append(block)
            continue
        stream, text = block
        if len(text) > room:
            kept.append((stream, f"… {len(text) - room:,} characters before this …\n{text[-room:] if room else ''}"))
            break
        kept.append(block)
        room -= len(text)
    return kept[::-1]


def overwritten(text: str) -> str:
    """As a terminal shows it: what stands behind a carriage return takes the place of what stood before it on the line."""
    if "\r" not in text:
        return text
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown)
    return "\n".join(lines)


def _block(block: tuple[Stream, str] | Display) -> str:
    if isinstance(block, Display):
        bundle = mime_bundle(block)
        if "text/html" in bundle:
            return str(bundle["text/html"])
        picture = next((kind for kind in bundle if kind.startswith("image/")), None)
        if picture is not None:
            return f'<img alt="{html.escape(picture)}" src="data:{picture};base64,{bundle[picture]}">'
        return f'<pre style="{_PRE}">{html.escape(bundle["text/plain"])}</pre>'
    stream, text = block
    return f'<pre style="{_ERROR if stream == "stderr" else _PRE}">{html.escape(text)}</pre>'
