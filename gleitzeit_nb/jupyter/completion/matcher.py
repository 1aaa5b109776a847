"""What IPython asks at each Tab: one matcher of ours, before all others and, where the cursor stands in something of ours, in their place.

IPython's API of 8.6 and later. What there is to offer `completion` knows, which is imported when a cell first holds a word of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, SimpleMatcherResult

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

    from gleitzeit_nb.jupyter.completion.completer import Completion
    from gleitzeit_nb.jupyter.front import Front

logger = logging.getLogger("gleitzeit_nb.completion")

PRIORITY = 1000.0  # before every matcher of IPython's own
CHARACTERS = {  # matchers of IPython's own that belong into a prompt too: \\alpha for α
    "IPCompleter.latex_name_matcher",
    "IPCompleter.unicode_name_matcher",
    "back_latex_name_matcher",
    "back_unicode_name_matcher",
}
WORDS = ("llm", "sandbox", "gleitzeit", "GleitzeitNB")  # a cell without any of them is none of ours


def offer(front: Front) -> Callable[[], None]:
    """Offer completions in the front's shell. Returns the way to end it."""
    completer = front.shell.Completer

    @lru_cache(maxsize=1)
    def completion() -> Completion:
        from gleitzeit_nb.jupyter.completion.completer import Completion

        return Completion(front)

    matcher = _matcher(completion)
    completer.custom_matchers.append(matcher)

    def unregister() -> None:
        if matcher in completer.custom_matchers:
            completer.custom_matchers.remove(matcher)
        if completion.cache_info().currsize:  # Tab was used
            completion().close()

    return unregister


def _matcher(completion: Callable[[], Completion]) -> Any:
    def gleitzeit_matcher(context: CompletionContext) -> SimpleMatcherResult:
        ours = any(word in context.full_text for word in WORDS)
        try:
            found = completion().at(context.full_text.split("\n"), context.cursor_line, context.cursor_position) if ours else None
        except Exception:
            logger.exception("nothing is offered, since looking for it failed")
            found = None
        offered = [] if found is None else [SimpleCompletion(each.text, type=each.type) for each in found.candidates] or Nothing()
        return {
            "completions": offered,
            "matched_fragment": "" if found is None else found.fragment,
            "ordered": True,
            "suppress": found is not None,
            "do_not_suppress": CHARACTERS,
        }

    matcher: Any = gleitzeit_matcher
    matcher.matcher_api_version, matcher.matcher_identifier, matcher.matcher_priority = 2, "gleitzeit_nb", PRIORITY
    return matcher


class Nothing(Sequence[SimpleCompletion]):
    """No completion, and none of any other matcher: IPython lets a matcher keep out the others only when it counts some of its own."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[SimpleCompletion]:
        return iter(())

    def __getitem__(self, index: Any) -> Any:
        raise IndexError(index)
