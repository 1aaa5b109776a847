"""`%llm cache`: how much is kept of answers, and forgetting it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gleitzeit_nb.errors import UsageError
from gleitzeit_nb.jupyter.arguments import MagicParser
from gleitzeit_nb.jupyter.listings import size_text

if TYPE_CHECKING:
    from gleitzeit_nb.jupyter.front import Front
CACHE_HELP = "how much is kept of answers; `clear` forgets it"


def cache_parser() -> MagicParser:
    parser = MagicParser("%llm cache", f"Prints {CACHE_HELP}.")
    parser.add_argument("what", metavar="clear", nargs="?", words=("clear",), help="forget it")
    return parser


def cache_text(front: Front, words: Sequence[str]) -> str:
    """What to print for `%llm cache` and `%llm cache clear`."""
    from gleitzeit_nb.llm.cache import AnswerCache

    if words in (["-h"], ["--help"]):
        return cache_parser().format_help()
    if words not in ([], ["clear"]):
        raise UsageError("%llm cache takes nothing, or `clear`.\nFor one cell: %%llm --cache, or --no-cache.")
    settings = front.runtime.config().pool.cache
    cache = AnswerCache(settings.max_bytes)
    used = cache.clear() if words else cache.usage()
    held = f"{used.entries} {'answer' if used.entries == 1 else 'answers'}, {size_text(used.size_bytes)}"
    if words:
        return f"{held}: forgotten."
    always = settings.enabled if front.settings.cache is None else front.settings.cache
    when = "every cell" if always else "only cells with --cache"
    return f"{held} of at most {size_text(cache.max_bytes)} in {cache.directory}\nUsed by: {when}."
