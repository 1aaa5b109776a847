"""What the dashboard's tables are made of: cleaned text, cells, bars and sparklines, as markup. Pure.

Every string of a snapshot comes from elsewhere: it passes `text` or `name` on its way into a page.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from gleitzeit_nb.core.plain import one_line
from gleitzeit_nb.rendering import words

SPARK_HEIGHT = 12
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
    return f"<div{f' class={css}' if css else ''}><table>{top}<tbody>{''.join(rows)}</tbody></table></div>"


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


def spark(series: Sequence[float | None], label: str, say: Callable[[float], str], top: float | None = None) -> str:
    """A line of the last minute, and the same in words; "" where fewer than two values are known. `top`: the value at the upper edge."""
    known = [value for value in series if value is not None]
    if len(known) < 2:
        return ""
    told = f"{label}, last minute: now {say(known[-1])}, at most {say(max(known))}"
    path = _path(series, top or max(known))
    return (
        f'<svg class="gz-spark" viewBox="0 -1 {len(series) - 1} {SPARK_HEIGHT + 2}" preserveAspectRatio="none" role="img" '
        f'aria-label="{told}"><path d="{path}"/></svg>'
    )


def _path(series: Sequence[float | None], top: float) -> str:
    """In steps of one; a gap where a value is unknown."""
    drawn: list[str] = []
    joins = False
    for index, value in enumerate(series):
        if value is not None:
            share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
            drawn.append(f"{'L' if joins else 'M'}{index} {SPARK_HEIGHT * (1 - share):.0f}")
        joins = value is not None
    return "".join(drawn)
