"""What the dashboard's tables are made of: cleaned text, cells, bars and sparklines, as markup. Pure.

Every string of a snapshot comes from elsewhere: it passes `text` or `name` on its way into a page.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.rendering import words

SPARK_HEIGHT = 12
POINTS = 30  # of a line
FEW_POINTS = 15  # of one in a very long table, whose rows have to be small
SMALL, LARGE = 42, 84  # px: the widths that lines have, see dashboard.css
NONE = f'<span class="gz-mut">{words.UNKNOWN}</span>'


def text(value: str, limit: int = 120) -> str:
    return html.escape(one_line(value, limit))


def name(value: str) -> str:
    """A name between others: letters that run from right to left do not reorder its neighbours."""
    return f"<bdi>{text(value, words.NAME_CHARS)}</bdi>"


def title(value: str) -> str:
    """What is told when the pointer rests there; nothing for nothing."""
    return f' title="{text(value, 200)}"' if value else ""


def head(label: str, css: str = "") -> str:
    return f'<th scope="col"{f" class={css}" if css else ""}>{label}</th>'


def table(caption: str, heads: Sequence[str], rows: Sequence[str], css: str = "", *, fixed: bool = False) -> str:
    """`heads` and `rows` are markup. The div takes the place of the table in the grid: captions are laid out beside their tables.

    `fixed`: the style says how wide the columns are, whatever is in them.
    """
    columns = f"<colgroup>{'<col>' * len(heads)}</colgroup>" if fixed else ""
    top = f"<caption>{caption}</caption>{columns}<thead><tr>{''.join(heads)}</tr></thead>"
    start = f'<div class="{css}">' if css else "<div>"
    return f"{start}<table>{top}<tbody>{''.join(rows)}</tbody></table></div>"


def row_head(markup: str, told: str = "") -> str:
    return f'<th scope="row"{title(told)}>{markup}</th>'


def muted(value: str, *, columns: int = 1, limit: int = 160) -> str:
    """A cell of text beside what matters."""
    span = f' colspan="{columns}"' if columns > 1 else ""
    return f'<td class="gz-mut gz-text"{span}>{text(value, limit)}</td>'


def number(value: str) -> str:
    return f'<td class="gz-num{" gz-mut" if value == words.UNKNOWN else ""}">{value}</td>'


def moment(at: float, told: str = "") -> str:
    return f'<td class="gz-mut gz-nowrap"{title(told)}>{words.clock_time(at)}</td>'


def bar(used: int, most: int) -> str:
    share = min(100, round(100 * used / most)) if most > 0 else 0
    full = " gz-full" if used >= most > 0 else ""
    return f'<span class="gz-bar{full}"><i><u style="width:{share}%"></u></i>{used}/{most}</span>'


Series = Sequence[float | None]


def spark(
    series: Series, label: str, say: Callable[[float], str], top: float | None = None, *, width: int = LARGE, points: int = POINTS
) -> str:
    """A line of the last minute, and the same in words; "" where fewer than two values are known. `top`: the value at the upper edge."""
    known = [value for value in series if value is not None]
    if len(known) < 2:
        return ""
    told = f"{label}, last minute: now {say(known[-1])}, at most {say(max(known))}"
    shown = thinned(series, points)
    path = _path(shown, top or max(known), width / max(1, len(shown) - 1))
    return f'<svg class="gz-spark" role="img" aria-label="{told}"><path d="{path}"/></svg>'


def thinned(series: Series, most: int) -> Series:
    """At most so many values: each is the mean of those that are known of its part."""
    step = -(-len(series) // most)
    if step <= 1:
        return series
    parts = [[value for value in series[at : at + step] if value is not None] for at in range(0, len(series), step)]
    return [sum(part) / len(part) if part else None for part in parts]


def _path(series: Series, top: float, step: float) -> str:
    """In pixels: each point by its distance from the one before, and a level stretch as one, which takes the fewest letters.

    A gap where a value is unknown; a value between two gaps is a line of no length, which round ends make a dot.
    """
    parts: list[str] = []
    moves: list[tuple[float, int]] = []
    before: int | None = None
    for index, value in enumerate(series):
        if value is None:
            before = None
            continue
        y = 1 + round(SPARK_HEIGHT * (1 - (min(1.0, max(0.0, value / top)) if top > 0 else 0.0)))
        if before is None:
            parts += [_moves(moves), f"M{step * index:.3g} {y}"]
            moves = []
        elif y == before and moves and moves[-1][1] == 0:
            moves[-1] = (moves[-1][0] + step, 0)
        else:
            moves.append((step, y - before))
        before = y
    return "".join([*parts, _moves(moves)]).removeprefix("h0")


def _moves(moves: Sequence[tuple[float, int]]) -> str:
    return "l" + " ".join(f"{right:.3g}{down:+d}" for right, down in moves) if moves else "h0"
