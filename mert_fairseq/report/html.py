"""A page of one file: every text escaped, pictures embedded, no script and no address of anything outside it."""

import base64
from html import escape
from typing import Iterable, List, Sequence, Tuple

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser holds the page to it
STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5f6770; --line: #dfe3e8; --page: #f6f7f9; --card: #ffffff;
        --accent: #0072b2; --bad: #b3261e; --bad-page: #fdeceb; --good: #1a7f4b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #9aa4af; --line: #2e353d; --page: #14171a; --card: #1d2126; --accent: #56b4e9;
          --bad: #ff8a80; --bad-page: #3a1f1d; --good: #6fcf97; }
  img.curves { filter: invert(0.885) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 4px; }
header p, section > p { color: var(--soft); margin: 0 0 12px; max-width: 90ch; }
section > p:last-child { margin-bottom: 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin: 18px 0; }
nav { margin: 10px 0 0; } nav a { color: var(--accent); margin-right: 16px; text-decoration: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); gap: 12px; margin: 18px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.tile b { display: block; font-size: 21px; font-weight: 600; } .tile span { color: var(--soft); font-size: 13px; }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
img + img { margin-top: 14px; }
.wide { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
table.text th, table.text td { text-align: left; overflow-wrap: anywhere; }
table.text td { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; }
details { margin: 6px 0; } summary { cursor: pointer; color: var(--accent); }
p.note { border-left: 3px solid var(--line); padding: 2px 0 2px 12px; overflow-wrap: anywhere; }
ul.alarms { margin: 0; padding: 0; list-style: none; }
ul.alarms li { border-left: 3px solid var(--bad); background: var(--bad-page); padding: 8px 12px; margin: 8px 0; overflow-wrap: anywhere; }
ul.alarms li.over { border-color: var(--good); background: none; color: var(--soft); }
ul.alarms b { color: var(--bad); } ul.alarms li.over b { color: var(--good); }
.good { color: var(--good); }
footer { color: var(--soft); font-size: 13px; }
"""


def page(title: str, under_title: str, sections: Sequence[Tuple[str, str]], tiles: str = "", footer: str = "") -> str:
    """The whole file; `sections` are (heading, HTML), all other arguments but `tiles` plain text."""
    anchors = [f"s{number}" for number in range(len(sections))]
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, (heading, _) in zip(anchors, sections))
    body = "".join(
        f'<section id="{anchor}"><h2>{escape(heading)}</h2>{content}</section>\n' for anchor, (heading, content) in zip(anchors, sections)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(CSP)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><main><header><h1>{escape(title)}</h1><p>{escape(under_title)}</p><nav>{links}</nav></header>\n"
        f"{tiles}\n{body}<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is a class of the style: note, good."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def picture(png: bytes, description: str, kind: str = "curves") -> str:
    """A PNG within the page; in the dark, `curves` are shown light on dark, other kinds as they are."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img class="{escape(kind)}" alt="{escape(description)}" src="data:image/png;base64,{data}">'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    """Columns of numbers, or of `text`."""
    lines = ["".join(f"<th>{escape(str(cell))}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    return f'<div class="wide"><table class="{escape(kind)}">{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def tiles(figures: Sequence[Tuple[str, str]]) -> str:
    """Large figures with what they are, (figure, name)."""
    shown = "".join(f'<div class="tile"><b>{escape(figure)}</b><span>{escape(name)}</span></div>' for figure, name in figures)
    return f'<div class="tiles">{shown}</div>'


def folded(summary: str, content: str) -> str:
    """HTML that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def alarm_list(items: Sequence[Tuple[str, str, bool]]) -> str:
    """(what and when, text, whether it says that something is over) of each."""
    lines: List[str] = []
    for head, text, over in items:
        lines.append(f'<li class="{"over" if over else "on"}"><b>{escape(head)}</b> {escape(text)}</li>')
    return f'<ul class="alarms">{"".join(lines)}</ul>'
