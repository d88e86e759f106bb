"""A scene as PNG. Pure: the same scene and the same Pillow give the same bytes.

Letters are those of Pillow's own font, which has Latin ones; others become a box, and are
whole in the SVG and on the page.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from teamscall.capture.report.palette import INKS
from teamscall.capture.report.scene import Label, Line, Rect, Scene, Shape

# Drawn twice as large and scaled down: slopes and letters are smooth.
_FINE = 2
# Above this a picture is drawn as it is: twice of it would be a gigabyte.
_FINE_UP_TO = 8000


def render(scene: Scene) -> bytes:
    """The picture, as wide as the scene."""
    import PIL.Image as pillow
    import PIL.ImageDraw as drawing

    fine = _FINE if scene.width <= _FINE_UP_TO else 1
    image = pillow.new("RGB", (scene.width * fine, scene.height * fine), "#ffffff")
    pen = drawing.Draw(image)
    for item in scene.items:
        _draw(pen, item, fine)
    if fine != 1:
        image = image.resize((scene.width, scene.height), pillow.Resampling.BOX)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=False, compress_level=6)
    return out.getvalue()


def _draw(pen: Any, item: Rect | Line | Shape | Label, fine: int) -> None:
    ink = INKS[item.style]
    match item:
        case Rect():
            # Pillow's second corner is inside.
            right = max(item.x * fine, (item.x + item.width) * fine - 1)
            bottom = max(item.y * fine, (item.y + item.height) * fine - 1)
            pen.rectangle((item.x * fine, item.y * fine, right, bottom), fill=ink.fill)
        case Line():
            ends = (item.x1 * fine, item.y1 * fine, item.x2 * fine, item.y2 * fine)
            pen.line(ends, fill=ink.stroke, width=fine)
        case Shape():
            points = [(x * fine, y * fine) for x, y in item.points]
            if len(points) > 2:
                pen.polygon(points, fill=ink.fill)
            else:
                pen.line(points, fill=ink.fill, width=fine)
        case Label():
            font = _font(item.size * fine)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[item.anchor]
            x, y = item.x * fine, item.y * fine
            # Bold: twice, half a pixel apart. The font has one weight.
            for shift in (0, fine / 2) if ink.bold else (0,):
                pen.text((x + shift, y), item.text, fill=ink.fill, font=font, anchor=anchor)
            if item.cut:
                left, _, right, _ = pen.textbbox((x, y), item.text, font=font, anchor=anchor)
                level = y - item.size * fine * 0.3
                pen.line((left, level, right, level), fill=ink.fill, width=fine)


@lru_cache(maxsize=32)
def _font(size: float) -> Any:
    import PIL.ImageFont as fonts

    return fonts.load_default(size)
