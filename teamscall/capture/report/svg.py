"""A scene as SVG: no style sheet, no script, no font, no link. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from teamscall.capture.report.palette import INKS
from teamscall.capture.report.scene import Item, Label, Line, Rect, Scene, Shape

_SANS = "system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
_MONO = "ui-monospace,'SF Mono',Menlo,Consolas,monospace"


def render(scene: Scene) -> str:
    """The document, without an XML declaration: it can also stand in a page."""
    return "\n".join(_lines(scene)) + "\n"


def _lines(scene: Scene) -> Iterator[str]:
    size = f'width="{scene.width}" height="{scene.height}"'
    box = f'viewBox="0 0 {scene.width} {scene.height}"'
    # Where it stands in a page, texts take the page's font unless each says its own.
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img" '
        f'font-family="{_SANS}" aria-label="{_attribute(scene.title)}">'
    )
    for item in scene.items:
        yield _item(item)
    yield "</svg>"


def _item(item: Item) -> str:
    ink = INKS[item.style]
    match item:
        case Rect():
            place = (
                f'x="{_n(item.x)}" y="{_n(item.y)}" '
                f'width="{_n(item.width)}" height="{_n(item.height)}"'
            )
            return _closed("rect", f'{place} fill="{ink.fill}"', item.title)
        case Line():
            ends = f'x1="{_n(item.x1)}" y1="{_n(item.y1)}" x2="{_n(item.x2)}" y2="{_n(item.y2)}"'
            return f'<line {ends} stroke="{ink.stroke}"/>'
        case Shape():
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in item.points)
            return _closed("polygon", f'points="{points}" fill="{ink.fill}"', item.title)
        case Label():
            more = ' font-weight="600"' if ink.bold else ""
            more += f' font-family="{_MONO}"' if ink.mono else ""
            more += "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
            more += ' text-decoration="line-through"' if item.cut else ""
            place = f'x="{_n(item.x)}" y="{_n(item.y)}" font-size="{_n(item.size)}"'
            return f'<text {place} fill="{ink.fill}"{more}>{escape(item.text)}</text>'


def _closed(name: str, attributes: str, title: str) -> str:
    if not title:
        return f"<{name} {attributes}/>"
    return f"<{name} {attributes}><title>{escape(title)}</title></{name}>"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
