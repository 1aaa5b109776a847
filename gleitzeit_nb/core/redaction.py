"""What must not leave the notebook, masked in a text that is about to: keys, tokens, passwords, and whose home it is. Pure.

It goes by values that are known to be secret, by the forms that issuers give their keys, and by the names that stand before a value.
Rather too much is masked than too little: the reader is a model that looks for a mistake in code. Every pattern is bounded, so that no
text takes long.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

MASK = "***"
HOME = "~"
LEAST_KNOWN_CHARS = 4  # a shorter value stands everywhere by chance

_SECRET_WORDS = frozenset(
    "password passwords passwd passphrase passcode pass pwd dsn secret secrets token apikey credential credentials auth".split()
)
_SECRET_ENDS = ("password", "passwd", "passphrase", "apikey", "secret", "token")  # of words that are run together, as in dbpassword
_KINDS_OF_KEYS = frozenset("api access private secret ssh signing encryption master account storage auth".split())
_SECRET_IN_CAPITALS = frozenset(("KEY", "PAT"))  # as variables of the environment are called
_IN_ADDRESSES = frozenset("key sig signature code sas".split())
_TYPES = frozenset("str bytes int bool None True False Any Optional SecretStr".split())
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_NAME = r"(?<![\w-])-{0,2}([A-Za-z_][\w.-]{0,80})"
_QUOTED = re.compile(
    _NAME + r"([\"']?\]?[ \t]{0,8}(?::[ \t]{0,4}[\w.\[\]|]{1,40}[ \t]{0,8})?(?:[:=]|=>|,)[ \t]{0,8}[rbfRBF]{0,2})"
    r"(?:(?P<long>\"\"\"|''').{0,4000}?(?:(?P=long)|\Z)|(?P<short>[\"'])(?:\\.|(?!(?P=short))[^\\\n]){1,4000}(?:(?P=short)|(?=\n)|\Z))",
    re.DOTALL,
)
_BARE = re.compile(_NAME + r"(\s{0,2}:[ \t]{1,8}|=)([^\s\"'&;*][^\s\"'&;]{0,400})")
_FLAG = re.compile(r"(?<!\S)--?([A-Za-z_][\w.-]{0,80})([ \t]{1,8})([^\s\"'*-][^\s\"']{0,400})")
_VARIABLE = re.compile(r"(?<![\w-])([A-Z][A-Z0-9_]{1,80})(=)([^\s\"'*]\S{0,400})")
_QUERY = re.compile(r"(?<=[?&;])([\w.-]{1,80})(=)([^\s&#\"'<>]{1,2000})")

_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|CERTIFICATE)[A-Z ]{0,20}-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)", re.DOTALL
)
_USER_INFO = re.compile(r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,20}://)[^\s/\"'<>]{1,300}@")
_FORMS = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"  # several makers of models, and payments
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|hf_[A-Za-z0-9]{16,}"
    r"|npm_[A-Za-z0-9]{20,}|pypi-[\w-]{16,}|dckr_pat_[\w-]{16,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{10,}"
    r"|eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"  # a JSON web token
    r")"
)
_HEADER = re.compile(
    r"(?i)(\b(?:proxy-)?authorization[\"']?[ \t]{0,8}[:=,][ \t]{0,8}[\"']?|\b(?:set-)?cookie[\"']?[ \t]{0,8}:[ \t]{0,8}[\"']?)[^\"'\n]+"
)
_LOGIN = re.compile(  # as curl takes it: -u name:password; uid:gid is no secret
    r"((?<![\w-])(?:-u|-U|--user|--proxy-user)[\"']?(?:,?[ \t]{1,8}|=)[\"']?(?!\d+:\d+\b)[^\s:\"'*]{1,100}:)[^\s\"'*][^\s\"']{0,300}"
)
_SCHEME = re.compile(r"\b([Bb]earer|[Bb]asic)(\s{1,8})(?=\S{0,80}[0-9=A-Z])[\w.~+/=-]{6,}")
_LONG = re.compile(r"(?<![\w+/.-])[A-Za-z0-9+_-]{32,}={0,2}(?![\w+/-])")
_HOMES = re.compile(
    r"(?<![\w~])/(?:home|Users)/[^/\s\"':,;)\]}>]+|(?<![A-Za-z])[A-Za-z]:\\{1,2}[Uu]sers\\{1,2}[^\\\s\"':,;)\]}>]+"
    r"|(?<![\w~/])/root(?=[/\s\"':,;)]|\Z)"
)


class Redacted(NamedTuple):
    """`text` without secrets; `masked`: how many there were, homes not counted."""

    text: str
    masked: int


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name is likely to hold a secret."""
    words = _WORD.findall(name)
    lower = [word.lower() for word in words]
    if any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDS) for word in lower):
        return True
    if any(first in _KINDS_OF_KEYS and second == "key" for first, second in itertools.pairwise(lower)):
        return True
    return bool(words) and words[-1] in _SECRET_IN_CAPITALS


def redact(text: str, known: Iterable[str] = (), home: str = "") -> Redacted:
    """`known`: values that are secret wherever they stand. `home`: the person's own folder, beside the usual ones. Applied twice it changes
    nothing more."""
    masked = 0
    for value in sorted({each for each in known if len(each) >= LEAST_KNOWN_CHARS}, key=len, reverse=True):
        masked += text.count(value)
        text = text.replace(value, MASK)
    for pattern, written in _RULES:
        text, count = _replaced(pattern, written, text)
        masked += count
    if len(home) > 1:
        text = re.sub(rf"(?<![\w~]){re.escape(home.rstrip('/'))}(?![\w.-])", HOME, text)
    return Redacted(_HOMES.sub(HOME, text), masked)


Written = Callable[["re.Match[str]"], "str | None"]  # what takes a match's place; None: it holds no secret


def _replaced(pattern: re.Pattern[str], written: Written, text: str) -> tuple[str, int]:
    """Where nothing is replaced, the search goes on behind the name only: what stands there may hold names of its own."""
    pieces: list[str] = []
    begun = at = count = 0
    while (match := pattern.search(text, at)) is not None:
        instead = written(match)
        if instead is None:
            at = max(match.end(1) if pattern.groups else match.end(), match.start() + 1)
            continue
        pieces += [text[begun : match.start()], instead]
        begun = at = match.end()
        count += instead != match[0]
    return "".join([*pieces, text[begun:]]), count


def _whole(_match: re.Match[str]) -> str:
    return MASK


def _behind(match: re.Match[str]) -> str:
    """What names it stays."""
    return f"{match[1]}{MASK}"


def _user_info(match: re.Match[str]) -> str:
    return f"{match[1]}{MASK}@"


def _scheme(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{MASK}"


def _quoted(match: re.Match[str]) -> str | None:
    quote = match["long"] or match["short"]
    return f"{_lead(match)}{match[1]}{match[2]}{quote}{MASK}{quote}" if is_secret_name(match[1]) else None


def _named(match: re.Match[str]) -> str | None:
    if not is_secret_name(match[1]) or match[3].rstrip(",:)]") in _TYPES:
        return None
    return f"{_lead(match)}{match[1]}{match[2]}{MASK}"


def _lead(match: re.Match[str]) -> str:
    """The dashes before an option's name."""
    return match[0][: match.start(1) - match.start()]


def _in_address(match: re.Match[str]) -> str | None:
    name = match[1]
    return f"{name}={MASK}" if is_secret_name(name) or _IN_ADDRESSES & {word.lower() for word in _WORD.findall(name)} else None


def _random(match: re.Match[str]) -> str | None:
    """Long words that nobody writes by hand: letters and digits mixed, or all of it hexadecimal."""
    word = match[0]
    has_digit, has_letter = any(map(str.isdigit, word)), any(map(str.isalpha, word))
    mixed = any(map(str.isupper, word)) and any(map(str.islower, word))
    hexadecimal = all(char in "0123456789abcdefABCDEF" for char in word)
    return MASK if has_digit and has_letter and (mixed or hexadecimal) else None


_RULES: tuple[tuple[re.Pattern[str], Written], ...] = (
    (_BLOCK, _whole),
    (_USER_INFO, _user_info),
    (_FORMS, _whole),
    (_HEADER, _behind),
    (_LOGIN, _behind),
    (_SCHEME, _scheme),
    (_QUERY, _in_address),
    (_QUOTED, _quoted),
    (_VARIABLE, _named),
    (_BARE, _named),
    (_FLAG, _named),
    (_LONG, _random),
)
