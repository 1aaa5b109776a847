"""What a page may hold that was made from harmless Markdown: no more than text, and links that need a click."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from gleitzeit_nb.jupyter.markdown.tex import harmless_tex

TAGS = set("p h1 h2 h3 h4 h5 h6 ul ol li pre code span div table thead tbody tr th td blockquote em strong del a hr br".split())
ATTRIBUTES = {"class", "id", "start"}
ALIGNED = re.compile(r"text-align: ?(left|right|center);?")
LINK = re.compile(r"(https?://|mailto:)[^\"'<>\s\\]*|#.*")  # the last: nbconvert's anchors of headings
MATH = re.compile(r"\$\$?(.+?)\$|\\[(\[](.+?)\\[)\]]|\\begin\{(.*?)\}", re.DOTALL)


class Page(HTMLParser):
    """Collects what is not allowed in `faults`, and the visible text outside code, in runs as MathJax sees it, in `runs`."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.runs: list[str] = [""]
        self.visible: list[str] = []
        self._code_depth = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            fits = (
                (name == "href" and tag == "a" and LINK.fullmatch(value or ""))
                or name in ATTRIBUTES
                or (name == "style" and ALIGNED.fullmatch(value or ""))
            )
            if not fits:
                self.faults.append(f"<{tag} {name}={value!r}>")
            if name == "class" and {"mermaid", "jp-Mermaid"} & set((value or "").split()):
                self.faults.append(f"<{tag} class={value}>")
        self._code_depth += tag in ("code", "pre")
        if tag != "br":
            self.runs.append("")

    def handle_endtag(self, tag: str) -> None:
        self._code_depth -= tag in ("code", "pre")
        self.runs.append("")

    def handle_data(self, data: str) -> None:
        self.visible.append(data)
        if self._code_depth == 0:
            self.runs[-1] += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")

    def math_faults(self) -> list[str]:
        """Formulas that MathJax would find and that do more than draw."""
        found = []
        for run in self.runs:
            for match in MATH.finditer(run):
                if harmless_tex(match[1] or match[2] or match[0], display=True) is None:
                    found.append(match[0])
        return found
