"""Texts that try to be more than text: what a model could answer, a program print, or a server name its models.

Each leaves a trace when it succeeds: it sets `__pwned`, opens a dialog, changes the title, or asks the trap.
"""

from __future__ import annotations

from dataclasses import dataclass

DO = "window.__pwned=1;alert(1);document.title='owned'"
NAME = f'<img src=x onerror="{DO}">'
SHORT_NAME = "<img src=x onerror=__pwned=1>"
ANSI = "\x1b[31mred\x1b[0m \x1b]0;owned\x07 \x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\ \x1b[2J\x1b[1;1H \x9b31m"


@dataclass(frozen=True)
class Hostile:
    """`seen`: what a reader must find in what is shown, whatever else becomes of the text."""

    name: str
    text: str
    seen: tuple[str, ...] = ()


def answers(trap: str) -> list[Hostile]:
    """Hostile Markdown. `trap`: an address that must not be asked. Every text begins and ends with a word that must be shown."""
    cases = [
        Hostile("elements", _ELEMENTS, ("<script>", "<img src=x onerror=", "<iframe srcdoc=", "<svg onload=", "<math>", "<form action=")),
        Hostile("breaking-out", _BREAKING_OUT, ("</div></pre>", "<!DOCTYPE html>", "<![CDATA[", "</textarea>")),
        Hostile(
            "links", _LINKS, ("javascript:", "data:text/html", "vbscript:", "reference link", "three (javascript:", "file:///etc/passwd")
        ),
        Hostile("images", _IMAGES, ("image: one", "image: three", "image: reference", "<picture>")),
        Hostile("comments", _COMMENTS, ("<!-- hidden", "<!--> <script>", "<?php", "--!>")),
        Hostile("entities", _ENTITIES, ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;")),
        Hostile("formulas", _FORMULAS, ("\\href{javascript:", "\\class{", "\\style{", "\\unicode", "\\require{", "\\def\\x", "\\cssId")),
        Hostile("fences", _FENCES, ("inside a fence", "tilde fence", "onmouseover", "<script>fence", "shorter fence", "{raw} html")),
        Hostile("diagrams", _DIAGRAMS, ("graph TD", "click A href", "%%{init", "sequenceDiagram", "tilde diagram", "securityLevel")),
        Hostile("tables", _TABLES, ("<b onmouseover=", "image: cell", "<td>")),
        Hostile("footnotes", _FOOTNOTES, ("[^1]", "[^x]", "*[HTML]", ":::", "{.hidden onclick=", "==mark==", "[[wiki]]", "@import")),
        Hostile("terminal", f"{ANSI}\n\n# head\x1b[2J\n\n`code\x1b[31m`", ("␛[2J", "␛]0;owned␇", "␛]8;;javascript:alert(1)␛", "code␛")),
        Hostile("bidi", "user\u202e}gpj.exe\u202c \u2066isolated\u2069 a\u200fb\u200e", ("⟦U+202E⟧}gpj.exe", "⟦U+2066⟧isolated")),
        Hostile("nulls", "nul\x00l <scr\x00ipt>alert(1)</scr\x00ipt> \x0b \x0c \x7f \ufeffbom", ("nul␀l", "<scr␀ipt>", "␋", "␌", "␡")),
        Hostile("unclosed", "<script>/* ```\n$$ <!-- <style>*{display:none}", ("<script>/*", "$$", "<style>*{display:none}")),
    ]
    return [Hostile(each.name, _aimed(f"first-{each.name}\n\n{each.text}\n\nlast-{each.name}", trap), each.seen) for each in cases]


def _aimed(text: str, trap: str) -> str:
    return text.replace("//TRAP", trap.removeprefix("http:")).replace("TRAP", trap)


def pieces(text: str, size: int = 23) -> list[str]:
    """As a server streams it: cut in the middle of whatever stands there."""
    return [text[at : at + size] for at in range(0, len(text), size)]


_ELEMENTS = f"""
<script>{DO}</script> and inline <script src="TRAP/s.js"></script>

<img src=x onerror="{DO}"> <img src="TRAP/i.png"> <IMG/SRC=x/ONERROR={DO}>

<iframe srcdoc="<script>parent.__pwned=1</script>"></iframe> <iframe src="TRAP/f"></iframe>
<object data="TRAP/o"></object> <embed src="TRAP/e">

<style>@import url(TRAP/c.css); body {{ background: url(TRAP/b.png) }}</style> <link rel=stylesheet href="TRAP/l.css"> <base href="TRAP/">

<svg onload="{DO}"><animate onbegin={DO} attributeName=x /><use href="TRAP/u.svg#x"/></svg>

<math><mtext><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror={DO}&gt;"></math>
<math><maction xlink:href="javascript:{DO}">x</maction></math>

<form action="TRAP/p"><input autofocus onfocus="{DO}"><button formaction="javascript:{DO}">go</button></form>
<meta http-equiv=refresh content="0;TRAP/m">

<details open ontoggle="{DO}">x</details> <video autoplay onloadstart="{DO}"><source src="TRAP/v" onerror="{DO}"></video>
<audio src="TRAP/a" autoplay>

<div style="position:fixed;inset:0;background:url(TRAP/d.png)" onpointerenter="{DO}">over everything</div>

<template shadowrootmode=open><script>{DO}</script></template> <dialog open>x</dialog> <marquee onstart="{DO}">x</marquee>
"""
_BREAKING_OUT = f"""
</div></pre></td></table></div></div></main><script>{DO}</script>

<!DOCTYPE html><html><body onload="{DO}"></body></html>

</textarea></title></style></script><img src=x onerror="{DO}">

<![CDATA[<script>{DO}</script>]]> "><script>{DO}</script> '><img src=x onerror={DO}>

<<script>{DO}//<</script> <scr<script>ipt>{DO}</scr</script>ipt> <img src="x` `<script>{DO}</script>"` `>
"""
_LINKS = f"""
[one](javascript:{DO}) [two](JaVaScRiPt:{DO}) [three](&#x6A;avascript:{DO}) [four](java\tscript:{DO}) [five](<javascript:{DO}>)

[six](data:text/html,<script>{DO}</script>) [seven](vbscript:x) [eight](file:///etc/passwd) [nine](//TRAP/x) [ten](\x01javascript:{DO})

<javascript:{DO}> <data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==> <TRAP/auto>

[reference link][bad] [bad] ![bad]

[bad]: javascript:alert(1) "title"

[quoted](TRAP/x "onmouseover='alert(1)'") [nested [link](javascript:alert(1))](javascript:alert(2)) [broken](TRAP/"onmouseover="alert(1))

javascript:alert(1) as plain words, and TRAP/bare"onmouseover="alert(1), and www.example.org/<script>alert(1)</script>

[as text](javascript&colon;alert(1)) [user](https://bank.example@evil.example/) <a href="javascript:{DO}" target=_self>raw</a>
"""
_IMAGES = f"""
![one](TRAP/one.png) ![two](TRAP/two.png "title") [![three](TRAP/three.png)](javascript:{DO})

![reference][img] ![four](data:image/svg+xml,<svg/onload={DO}>) ![five](attachment:x.png) ![six](x" onerror="{DO})

[img]: TRAP/reference.png

<picture><source srcset="TRAP/p.png"><img src="TRAP/q.png"></picture> <img srcset="TRAP/r.png 1x"> ![seven](TRAP/seven.png =10x10)
"""
_COMMENTS = f"""
visible <!-- hidden <script>{DO}</script> --> and on

<!--> <script>{DO}</script> -->

<!-- --!> <img src=x onerror="{DO}"> --> <!---><img src=x onerror="{DO}">-->

<?php {DO} ?> <!ENTITY x "y"> <%= {DO} %>

<!-- never closed
"""
_ENTITIES = """
&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62; &#x3c;iframe&#x3E; &LT;svg onload=alert(1)&GT;

&amp;lt;b&amp;gt; &#0; &#xD800; &#x202E; &lt&gt &bogus; \\<b\\> \\&lt;b\\&gt; `&lt;script&gt;`

[x](&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;alert(1)) &Tab;&NewLine;&nbsp;
"""
_FORMULAS = f"""
$\\href{{javascript:{DO}}}{{\\text{{click me}}}}$ and \\(\\href{{javascript:alert(1)}}{{x}}\\) and $x^2$ draws

$$\\class{{jp-Dialog}}{{x}}$$

$$\\style{{position:fixed;background:url(TRAP/m.png)}}{{x}}$$

\\[\\unicode{{x<script>alert(1)</script>}}\\]

$\\require{{html}}\\cssId{{jp-main-dock-panel}}{{x}}$ $\\def\\x#1{{\\x\\x}}\\x$ $\\text{{$\\href{{javascript:alert(1)}}{{y}}$}}$

\\begin{{align}}\\href{{javascript:alert(1)}}{{x}}\\end{{align}}

$$x$$<img src=x onerror="{DO}">$$ $`<script>{DO}</script>`$ $\\text{{<img src=x onerror=alert(1)>}}$ `$\\href{{javascript:alert(2)}}{{z}}$`

\\newcommand{{\\y}}{{z}} \\def\\x{{\\x}} $\\data{{x}}{{y}}$ $\\mmlToken{{mi}}[href="javascript:alert(1)"]{{x}}$
$\\includegraphics{{TRAP/g.png}}$
"""
_FENCES = f"""
```html
<script>{DO}</script> inside a fence
```

~~~python onmouseover="{DO}" class=x
<img src=x onerror="{DO}"> tilde fence
~~~

```"><script>fence</script>
x
```

````
``` shorter fence
<script>{DO}</script>
````

``code ` <script>{DO}</script>`` and ` <img src=x onerror="{DO}"> `

```js {{.x onmouseover="{DO}"}}
onmouseover
```

```{{raw}} html
<script>{DO}</script> {{raw}} html
```

```{{=html}}
<script>{DO}</script><script>fence</script>
```

    indented <script>{DO}</script>

- ```html
  <script>{DO}</script>
  ```

> ```
<script>{DO}</script>
"""
_DIAGRAMS = f"""
```mermaid
graph TD
  A["<img src=x onerror='{DO}'>"] --> B
  click A href "javascript:{DO}"
  click B call alert(1)
```

```mermaid
%%{{init: {{"securityLevel": "loose", "themeCSS": "@import url(TRAP/t.css)"}}}}%%
sequenceDiagram
  A->>B: <iframe src="TRAP/d"></iframe>
```

~~~MERMAID
graph LR
  A["tilde diagram <img src='TRAP/n.png'>"]
~~~

```mermaid {{.x}}
graph LR
  C@{{ img: "TRAP/shape.png", label: "x" }}
```

- ```mermaid
  graph LR
    D --> E["<script>{DO}</script>"]
  ```

<pre class="mermaid">graph TD; A-->B</pre> <div class="jp-Mermaid"><pre class="mermaid">graph TD; X["<img src=TRAP/y.png>"]</pre></div>

```geojson
{{"type": "FeatureCollection"}}
```
"""
_TABLES = f"""
| head <script>{DO}</script> | b |
|:--|--:|
| <b onmouseover="{DO}">x</b> | ![cell](TRAP/cell.png) |
| `a | b` | [x](javascript:{DO}) |
| `a \\| b` <td> | $\\href{{javascript:{DO}}}{{x}}$ |
"""
_FOOTNOTES = f"""
Text[^1] and[^x] and ^[inline <script>{DO}</script>].

[^1]: <script>{DO}</script>
[^x]: javascript:{DO}

*[HTML]: <script>{DO}</script>

Term
: definition <img src=x onerror="{DO}">

:::{{.x onclick={DO}}}
::: text {{.hidden onclick={DO}}}

==mark== [[wiki]] :smile: @@0@@ {{{{ jinja }}}} {{% raw %}} {{{{7*7}}}} @import url(TRAP/i.css)

# head {{#jp-main onclick={DO}}}

- [ ] <input autofocus onfocus={DO}>
- [x] done
"""
