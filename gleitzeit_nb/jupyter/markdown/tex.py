"""Which formulas may be typeset: those that only draw.

MathJax knows commands that make links, set styles and identifiers, load packages and define new commands. A formula passes when every
command in it stands on the list below; all others are shown as code. The list is of what draws, not of what is dangerous.
"""

from __future__ import annotations

import re

MAX_LENGTH = 2000
MAX_DEPTH = 16

_COMMANDS = frozenset(
    """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho sigma varsigma tau
    upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega aleph beth hbar ell wp Re Im imath jmath
    partial nabla infty emptyset varnothing forall exists nexists neg top bot angle triangle square Box Diamond prime
    pm mp times div cdot ast star circ bullet oplus ominus otimes oslash odot cap cup uplus sqcap sqcup vee wedge land lor lnot setminus
    dagger ddagger amalg bigcap bigcup bigoplus bigotimes bigvee bigwedge coprod sum prod int iint iiint oint limits nolimits
    leq le geq ge neq ne equiv sim simeq approx cong propto doteq ll gg lt gt prec succ preceq succeq subset supset subseteq supseteq
    in ni notin mid nmid parallel perp models vdash dashv therefore because colon triangleq coloneqq
    leftarrow rightarrow Leftarrow Rightarrow leftrightarrow Leftrightarrow longrightarrow longleftarrow Longrightarrow Longleftarrow
    iff implies impliedby to gets mapsto longmapsto uparrow downarrow Uparrow Downarrow updownarrow nearrow searrow swarrow nwarrow
    hookrightarrow hookleftarrow rightharpoonup rightharpoondown rightleftharpoons xrightarrow xleftarrow
    frac dfrac tfrac cfrac binom dbinom tbinom sqrt root over choose stackrel overset underset substack
    overline underline overbrace underbrace overrightarrow overleftarrow widehat widetilde hat check breve acute grave tilde bar vec dot
    ddot dddot mathring boxed not
    arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log max min Pr sec sin sinh sup
    tan tanh bmod pmod mod operatorname argmax argmin
    left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr langle rangle lfloor rfloor lceil rceil lvert rvert
    lVert rVert vert Vert lbrace rbrace lbrack rbrack backslash
    mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr boldsymbol pmb rm bf it text textbf textit textrm texttt mbox
    displaystyle textstyle scriptstyle scriptscriptstyle
    quad qquad space enspace thinspace hfill ldots cdots vdots ddots dots dotsc dotsb hline
    """.split()
)
_TEXT = frozenset("text textbf textit textrm texttt mbox".split())
_TEXT_END = "} of text"
_SYMBOLS = frozenset(",;:!>| {}\\_%&")
_DRAWN = "array matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix cases aligned gathered split"
_OUTER = {"align": "aligned", "align*": "aligned", "gather": "gathered", "gather*": "gathered", "eqnarray": "aligned"}
_ENVIRONMENTS = {name: name for name in _DRAWN.split()} | _OUTER | {"equation": "", "equation*": ""}
_TOKEN = re.compile(
    r"\\(?P<edge>begin|end)\{(?P<name>[A-Za-z]*\*?)\}|\\(?P<word>[A-Za-z]+)|\\(?P<symbol>.)|(?P<char>.)",
    re.DOTALL,
)
_PLAIN = frozenset("+-*/=()[].,:;!?'|^_&\n ")
_ELSEWHERE = ("](", "![", "://", "\\\\[", "\\\\(", "\n\n")  # what another reader might take for Markdown or for another formula


def harmless_tex(source: str, *, display: bool) -> str | None:
    """`source` (without its delimiters) in a form that every reader may typeset, or None. Environments are for display only."""
    source = source.strip()
    if not source or len(source) > MAX_LENGTH or any(mark in source for mark in _ELSEWHERE):
        return None
    pieces: list[str] = []
    closers: list[str] = []
    for match in _TOKEN.finditer(source):
        if match["edge"]:
            piece = _environment(match["edge"], match["name"], closers) if display else None
        elif match["word"]:
            known = _TEXT if _TEXT_END in closers else _COMMANDS  # MathJax shows an error for most commands between words
            piece = match[0] if match["word"] in known else None
        elif match["symbol"]:
            piece = match[0] if match["symbol"] in _SYMBOLS else None
        else:
            piece = _character(match["char"], closers, after=next((each for each in reversed(pieces) if each.strip()), ""))
        if piece is None or len(closers) > MAX_DEPTH:
            return None
        pieces.append(piece)
    tex = "".join(pieces).strip()
    return None if closers or not tex or tex.endswith("\\") else tex  # a last backslash would take the closing delimiter with it


def _character(char: str, closers: list[str], after: str) -> str | None:
    """`after`: the command or character that it follows."""
    if char == "{":
        closers.append(_TEXT_END if after[1:] in _TEXT or _TEXT_END in closers else "}")
    elif char == "}":
        if not closers or closers.pop() not in ("}", _TEXT_END):
            return None
    elif char in "<>":
        return None if _TEXT_END in closers else "\\lt " if char == "<" else "\\gt "
    elif not (char.isalnum() or char in _PLAIN or (ord(char) > 0xA0 and char.isprintable())):
        return None
    return char


def _environment(edge: str, name: str, closers: list[str]) -> str | None:
    if name not in _ENVIRONMENTS:
        return None
    if edge == "begin":
        closers.append(name)
    elif not closers or closers.pop() != name:
        return None
    inner = _ENVIRONMENTS[name]
    return f"\\{edge}{{{inner}}}" if inner else ""
