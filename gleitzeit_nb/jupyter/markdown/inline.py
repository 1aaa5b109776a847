"""One paragraph's worth of Markdown, read as events and written so that no reader finds more in it than these events.

Every character that any Markdown reader could take for syntax is written as a character reference, so text can only be text. What
cannot be written as a reference is a code span, and there the few sequences that readers look for even inside code are broken up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from gleitzeit_nb.jupyter.markdown.links import BARE_URL, harmless_url, without_trailing_punctuation
from gleitzeit_nb.jupyter.markdown.parser import MATH_INLINE, parser
from gleitzeit_nb.jupyter.markdown.tex import harmless_tex

if TYPE_CHECKING:
    from markdown_it.token import Token

Kind = Literal["text", "code", "open", "close", "link", "endlink", "soft", "hard", "math"]

JOINER = "\N{WORD JOINER}"
_MARKERS = {"em": "*", "strong": "**", "s": "~~"}
_REFERENCES = {ord(char): f"&#{ord(char)};" for char in "\\`*_[]{}~|$"} | {ord("<"): "&lt;", ord(">"): "&gt;"}
_AMPERSAND = re.compile(r"&(?=[#A-Za-z])")
_SELF_LINKING = re.compile(r"(?i)(?<=https):(?=//)|(?<=http):(?=//)|(?<=ftp):(?=//)|(?<=www)\.")  # links are written in one form only
_TYPESET = re.compile(r"\\(?:[()\[\]$\\]|begin|end|ref|eqref)")  # what MathJax looks for in rendered text, beside dollars
_WORD = re.compile(r"\S+")
_IN_CODE = re.compile(r"\$(?=\$)|\\(?=begin\{|end\{)|\\\\(?=[\[\]()])", re.IGNORECASE)  # nbconvert and JupyterLab find these even there
_HARMFUL = re.compile(r"<[A-Za-z/!?]|!\[|\]\(|[$\\]")
_BREAK = re.compile(r"(?i)<br\s*/?>")


class Event(NamedTuple):
    kind: Kind
    value: str = ""  # text, code, tex; the marker's name; the link's address, at both its ends


def read(tokens: Sequence[Token], *, one_line: bool = False) -> list[Event]:
    """The harmless events of an inline token's children. Emphasis that would be read differently when written is left out."""
    raw = [Event("text", " ") if one_line and event.kind in ("soft", "hard") else event for event in _raw(tokens)]
    unwanted: set[str] = set()
    while True:
        kept = [event for event in raw if _marker(event) not in unwanted]
        events = _settled(kept, linkify="[" not in unwanted)
        found = _cutting(events) or _misread(events)
        if found <= unwanted:
            return events
        unwanted |= found


def write(events: Sequence[Event], *, cell: bool = False) -> str:
    """The events as Markdown. `cell`: inside a table's row."""
    pieces: list[str] = []
    for event in events:
        if event.kind == "link" and pieces and pieces[-1].endswith("!"):
            pieces[-1] = pieces[-1][:-1] + "&#33;"  # a link behind an exclamation mark is an image
        pieces.append(_written(event, cell))
    return "".join(pieces)


def text_events(text: str) -> list[Event]:
    """Events that show `text` as it stands."""
    return list(_significant(text, crowded=text.count("$") > 1))


def _cutting(events: Sequence[Event]) -> set[str]:
    """Markers that a reader might find inside a code span: mistune ends a strikethrough there. Only where the code could then do harm."""
    codes = [event.value for event in events if event.kind == "code" and _HARMFUL.search(event.value)]
    present = {_marker(event) for event in events} - {""}
    return {marker for marker in present if any(marker in code or (marker == "[" and "]" in code) for code in codes)}


def _misread(events: Sequence[Event]) -> set[str]:
    """The markers of emphasis, when what is written would be read differently."""
    simple = all(event.kind in ("text", "soft", "hard", "link", "endlink") for event in events)
    return set() if simple or _again(write(events)) == events else {"*", "~"}


def _marker(event: Event) -> str:
    """The character that opens and closes what the event opens or closes; "" for all other events."""
    if event.kind in ("open", "close"):
        return _MARKERS[event.value][0]
    return "[" if event.kind in ("link", "endlink") else ""


def _again(text: str) -> list[Event]:
    (inline,) = parser().parseInline(text)
    return _settled(list(_raw(inline.children or ())))


def _settled(raw: Sequence[Event], *, linkify: bool = True) -> list[Event]:
    """Raw events with text joined, addresses linked, what MathJax looks for in code, and neighbours kept apart."""
    joined = list(_with_text_joined(raw))
    crowded = sum(event.value.count("$") for event in joined if event.kind == "text") > 1 or any(event.kind == "math" for event in joined)
    found: list[Event] = []
    depth = 0
    for event in joined:
        depth += {"link": 1, "endlink": -1}.get(event.kind, 0)
        for part in _of_text(event.value, crowded, linkify=linkify and depth == 0) if event.kind == "text" else (event,):
            separator = _between(found[-1], part) if found else ""
            if separator:
                found.append(Event("text", separator))
            found.append(part)
    return list(_with_text_joined(found))


def _with_text_joined(events: Sequence[Event]) -> Iterator[Event]:
    pending = ""
    for event in events:
        if event.kind == "text":
            pending += event.value
            continue
        if pending:
            yield Event("text", pending)
            pending = ""
        yield event
    if pending:
        yield Event("text", pending)


def _between(left: Event, right: Event) -> str:
    """What keeps two neighbours from being read as one."""
    if left.kind == right.kind == "code":
        return JOINER
    if {left.kind, right.kind} in ({"math"}, {"math", "code"}):
        return " "
    price = left.kind == "math" and right.kind == "text" and right.value[:1].isdigit()  # a dollar before a digit is no delimiter
    return JOINER if price else ""


# -- reading ------------------------------------------------------------------------------------------------------------------


def _raw(tokens: Sequence[Token]) -> Iterator[Event]:
    """Tokens as events, with images and forbidden links already turned into what they may be. A link without text shows its address."""
    last = ""
    for event in _events(tokens):
        if event.kind == "endlink" and last == "link":
            yield Event("text", event.value)
        yield event
        last = event.kind


def _events(tokens: Sequence[Token]) -> Iterator[Event]:
    allowed: list[tuple[str | None, str, str]] = []
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if token.type in ("softbreak", "hardbreak"):
            yield Event("soft" if token.type == "softbreak" else "hard")
        elif token.type == "code_inline":
            yield _code(token.content)
        elif token.type == MATH_INLINE:
            yield _formula(token)
        elif token.type == "image":
            yield from _image(token, linked=bool(allowed))
        elif token.type == "link_open":
            raw = str(token.attrs.get("href", ""))
            inside = any(outer is not None for outer, _, _ in allowed)  # an autolink in a link's text: no reader agrees with another
            url = None if inside else harmless_url(raw)
            allowed.append((url, raw, "autolink" if inside else token.markup))
            if url is not None:
                yield Event("link", url)
        elif token.type == "link_close":
            url, raw, markup = allowed.pop()
            if url is not None:
                yield Event("endlink", url)
            elif markup != "autolink":
                yield Event("text", f" ({raw[:200]})")
        elif name in _MARKERS:
            yield Event("open" if token.nesting > 0 else "close", name)
        elif token.content:
            yield from _text_with_breaks(token.content)


def _text_with_breaks(text: str) -> Iterator[Event]:
    """`<br>` is the one tag that models use for what Markdown has too."""
    parts = _BREAK.split(text.replace("\n", " ").replace("\t", " ")) if "<" in text else [text.replace("\n", " ").replace("\t", " ")]
    for index, part in enumerate(parts):
        if index:
            yield Event("hard")
        if part:
            yield Event("text", part)


def _formula(token: Token) -> Event:
    tex = harmless_tex(token.content, display=False)
    if tex is None:
        return _code(str(token.meta["raw"]))
    drawn_large = token.markup in ("$$", "\\[") and not tex.startswith("\\displaystyle")
    return Event("math", " ".join((f"\\displaystyle {tex}" if drawn_large else tex).split()))


def _code(content: str) -> Event:
    content = _IN_CODE.sub(lambda match: match[0] + JOINER, content.replace("\n", " "))
    while "``" in content:  # so that two backticks always suffice around it: three at a line's start would begin a block
        content = content.replace("``", f"`{JOINER}`")
    return Event("code", content)


def _image(token: Token, *, linked: bool) -> Iterator[Event]:
    alt = " ".join(child.content for child in token.children or () if child.content)
    label = Event("text", f"image: {alt}" if alt else "image")
    url = None if linked else harmless_url(str(token.attrs.get("src", "")))
    yield from (label,) if url is None else (Event("link", url), label, Event("endlink", url))


def _of_text(text: str, crowded: bool, *, linkify: bool) -> Iterator[Event]:
    at = 0
    for match in BARE_URL.finditer(text) if linkify else ():
        shown = without_trailing_punctuation(match[0])
        url = harmless_url(parser().normalizeLink(shown if "://" in shown else f"http://{shown}"))
        if url is not None:
            yield from _significant(text[at : match.start()], crowded)
            yield from (Event("link", url), Event("text", shown), Event("endlink", url))
            at = match.start() + len(shown)
    yield from _significant(text[at:], crowded)


def _significant(text: str, crowded: bool) -> Iterator[Event]:
    """Words that MathJax would look into become code, where it does not look."""
    if not ((crowded and "$" in text) or _TYPESET.search(text)):
        yield from (Event("text", text),) if text else ()
        return
    at = 0
    for match in _WORD.finditer(text):
        if "\\" not in match[0] and "$" not in match[0]:
            continue
        word = without_trailing_punctuation(match[0])
        begin = match.start() + len(word) - len(word.lstrip("(\"'"))
        end = match.start() + len(word)
        if begin > at:
            yield Event("text", text[at:begin])
        yield _code(text[begin:end])
        at = end
    if text[at:]:
        yield Event("text", text[at:])


# -- writing ------------------------------------------------------------------------------------------------------------------


def _written(event: Event, cell: bool) -> str:
    kind, value = event
    if kind == "text":
        return reference(value)
    if kind == "code":
        return _written_code(value, cell)
    if kind == "math":
        return f"${value}$"
    if kind == "link":
        return "["
    if kind == "endlink":
        return f"]({_AMPERSAND.sub('&amp;', value)})"
    if kind in ("open", "close"):
        return _MARKERS[value]
    if kind == "soft":
        return "\n"
    return "  \n"


def reference(text: str) -> str:
    """Text in which nothing is syntax to any reader of Markdown, wherever in a line it stands but at its start."""
    text = _AMPERSAND.sub("&amp;", text).translate(_REFERENCES)
    return _SELF_LINKING.sub(lambda match: f"&#{ord(match[0])};", text)


def _written_code(content: str, cell: bool) -> str:
    if cell:
        content = content.replace("|", "\\|")
    fence = "``" if "`" in content else "`"
    padded = content.startswith("`") or content.endswith("`") or (content[0] == content[-1] == " " and content.strip(" ") != "")
    return f"{fence} {content} {fence}" if padded else f"{fence}{content}{fence}"
