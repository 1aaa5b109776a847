"""A model's Markdown after it was made harmless, as nbconvert's default exporter shows it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit_nb.jupyter.markdown.harmless import harmless, harmless_line
from gleitzeit_nb.jupyter.markdown.inline import JOINER
from tests.jupyter.html_check import Page

mistune = pytest.importorskip("nbconvert.filters.markdown_mistune", reason="nbconvert is not installed")

HOSTILE = """
<script>alert(1)</script>|<img src=x onerror=alert(1)>|<svg/onload=alert(1)>|<a href="x" onclick=y>|<div>|</div>|<!-- |-->
`|``|```|~~~|$|$$|\\(|\\)|\\[|\\]|\\begin{a}|\\end{a}|\\href{javascript:alert(1)}{x}|\\style{x}{y}|$x^2$|$a<b$|\\frac{1}{2}
[a](javascript:alert(1))|[b](data:text/html,x)|![i](http://e.x/p.png)|![i](data:image/png;base64,AA)|[x]: javascript:alert(1)|[x]|[ref][x]
<javascript:alert(1)>|<http://a.b/c>|https://x.y/z?a=1&b=2|http://|www.a.b|ftp://a.b|a@b.c|[|]|(|)|](|!|{|}|{.a onclick=b}|@@0@@
*|**|_|__|~~|> |- |* |+ |1. |2) |    |# |=====|-----|***|: |%|:::|^|[^1]|[ ] |mermaid|```mermaid|```python|```{raw} html
| a | b |||--|--|||&lt;script&gt;|&#36;|&#92;|&amp;lt;|&copy;|\\|\\\\|\\$|\\`|\\<|text|1|"|'|<br>|javascript:alert(1)
""".replace("\n", "|")
PIECES = [
    *(piece for piece in HOSTILE.split("|") if piece),
    "|",
    "| a | b |\n|--|--|\n",
    "  \n",
    "\n",
    "\n\n",
    "\t",
    "\x1b[31m",
    "\u202e",
    "\x00",
    "\u2028",
]

CROSSING = [
    "<t>",
    "![x](http://e/p)",
    "[a](http://a.b)",
    "](http://a.b)",
    "`",
    "``",
    "*",
    "**",
    "~~",
    "_",
    "__",
    "[",
    "]",
    "(",
    ")",
    "!",
    "$",
    "$$",
    "$x$",
]
CROSSING += [
    "\\",
    "\\(",
    "\\[",
    "\\]",
    "\\begin{a}",
    "\\end{a}",
    "a",
    " ",
    "\n",
    "&lt;t&gt;",
    "&#96;",
    "&#42;",
    "<http://a>",
    "<br>",
    "http://x.y",
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=30).map("".join)


crossing = st.lists(st.sampled_from(CROSSING), max_size=24).map("".join)  # spans that begin in one another


def page(markdown: str) -> Page:
    return Page(mistune.markdown2html_mistune(markdown))


def shown(text: str) -> str:
    """What a reader sees of an answer, without regard to line ends."""
    return " ".join("".join(page(harmless(text)).visible).replace(JOINER, "").replace("¶", "").split())


@given(hostile | crossing)
@settings(max_examples=800, deadline=None)
def test_no_page_made_from_it_can_run_fetch_or_typeset_anything(text: str) -> None:
    found = page(harmless(text))
    assert found.faults == []
    assert found.math_faults() == []


@given(hostile | crossing)
@settings(max_examples=600, deadline=None)
def test_applied_twice_it_changes_nothing_more(text: str) -> None:
    once = harmless(text)
    assert harmless(once) == once


@given(hostile, st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_an_answer_that_is_not_complete_yet_is_harmless_too(text: str, length: int) -> None:
    found = page(harmless(text[:length]))
    assert found.faults + found.math_faults() == []


@given(
    st.lists(
        st.sampled_from(["*", "**", "`", "\n", "\n\n", "- ", "1. ", "> ", "# ", "<b>", "~~", "_", " ", "$", "$5", "(", "&", "\\", "```\n"]),
        max_size=20,
    )
)
@settings(max_examples=300, deadline=None)
def test_every_word_is_still_there(markup: list[str]) -> None:
    text = "".join(f"{piece}word{index}x " for index, piece in enumerate(markup))
    assert re.findall(r"word\d+x", shown(text)) == re.findall(r"word\d+x", text)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_line_is_shown_exactly_as_text(text: str) -> None:
    found = page(harmless_line(text))
    assert found.faults + found.math_faults() == []
    assert set(re.findall(r"<(\w+)", mistune.markdown2html_mistune(harmless_line(text)))) <= {"p", "code"}


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("# Title\n\nA *fine* **day**, ~~not~~ `code`.", "# Title\n\nA *fine* **day**, ~~not~~ `code`."),
        ("- a\n- b\n  - c", "- a\n- b\n  - c"),
        ("1. a\n2. b\n\n   para", "1. a\n\n2. b\n\n   para"),
        ("> quote\nlazy", "> quote\n> lazy"),
        ("```python\nprint('<b>')\n```", "```python\nprint('<b>')\n```"),
        ("| a | b |\n|:--|--:|\n| `x` | y |", "| a | b |\n|:--|--:|\n| `x` | y |"),
        ("[docs](https://x.org/a_b?c=1&d=2 'title')", "[docs](https://x.org/a_b?c=1&amp;d=2)"),
        ("<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;"),
        ("![a cat](https://x.org/cat.png)", "[image: a cat](https://x.org/cat.png)"),
        ("![dot](data:image/png;base64,AAAA)", "image: dot"),
        ("[click](javascript:alert(1))", "click (javascript:alert(1))"),
        ("[login](https://bank.com@evil.com/)", "login (https&#58;//bank.com@evil.com/)"),
        ("see https://x.org/a_b.", "see [https&#58;//x.org/a&#95;b](https://x.org/a_b)."),
        ("- [ ] open\n- [x] done", "- ☐ open\n- ☑ done"),
        ("```mermaid\ngraph TD\n```", "```\ngraph TD\n```"),
        ("2 < 3 & 4 > 1", "2 &lt; 3 & 4 &gt; 1"),
        ("snake_case * 2", "snake&#95;case &#42; 2"),
    ],
)
def test_what_it_writes(text: str, markdown: str) -> None:
    assert harmless(text) == markdown


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("It costs $5.", "It costs &#36;5."),
        ("$5 or $6", "`$5` or `$6`"),
        (r"\(a+b\)", "$a+b$"),
        (r"$\frac{a}{b} < 1$", r"$\frac{a}{b} \lt 1$"),
        ("\\[\nx = y\n\\]", "$$\nx = y\n$$"),
        ("\\begin{align}\na &= b \\\\\n- c\n\\end{align}", "$$\n\\begin{aligned}\na &= b \\\\\n- c\n\\end{aligned}\n$$"),
        (r"$\href{javascript:alert(1)}{x}$", r"`$\href{javascript:alert(1)}{x}$`"),
        (r"$\text{if } a < b$", r"$\text{if } a \lt b$"),
        (r"$\text{a < b}$", r"`$\text{a < b}$`"),
        (r"$x \text {if {a > b}}$", r"`$x \text {if {a > b}}$`"),
        (r"$\require{html}$", r"`$\require{html}$`"),
        (r"$$\style{background:url(//e.x)}{x}$$", "```\n$$\\style{background:url(//e.x)}{x}$$\n```"),
        (r"C:\Users and \alpha", "C:&#92;Users and &#92;alpha"),
    ],
)
def test_formulas_that_only_draw_stay_and_the_others_are_code(text: str, markdown: str) -> None:
    assert harmless(text) == markdown


@pytest.mark.parametrize(
    "text",
    [
        "~~`\\(~~<t>\\)`~~",
        "~~`a~~<img src=x>`~~",
        "**`a** <b>`**",
        "[`](x) <b> [`](http://a.b)",
        "`$$` <b> `$$` `<script>x</script>`",
        "!http://a.b/c.png",
    ],
)
def test_markers_that_a_reader_finds_inside_code_open_nothing(text: str) -> None:
    assert page(harmless(text)).faults == []


def test_controls_and_overrides_are_visible() -> None:
    assert harmless("a\x1b[31mb\x07\u202ec\x00") == "a␛&#91;31mb␇⟦U+202E⟧c␀"


def test_what_is_too_long_says_so() -> None:
    assert harmless("word " * 100, limit=50).endswith("*… 450 more characters are not shown here.*")


def test_markup_too_deep_to_read_is_shown_as_it_stands() -> None:
    text = ">" * 500 + " deep"
    assert harmless(text) == f"```\n{text}\n```"


@pytest.mark.parametrize(
    "text", ["x" * 10_000_000, "$ \\( " * 200_000, "[" * 300_000, "**a" * 100_000, "> " * 200_000, "<" * 300_000, "\\begin{a}\n" * 30_000]
)
def test_a_hostile_flood_does_not_freeze_the_kernel(text: str) -> None:
    started = time.thread_time()  # which others on the machine hardly change
    harmless(text)
    assert time.thread_time() - started < 20  # seconds; some 2 on most machines
