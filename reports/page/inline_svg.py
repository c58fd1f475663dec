"""A figure as an SVG element of a page: no name of it meets another's, its greys follow the page.

Several SVG files in one HTML document share one space of ids and one of styles, so ids are given
a prefix, those that nothing refers to go, and so does matplotlib's style sheet for everything.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from xml.sax.saxutils import quoteattr

from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reports.document.report import Drawing
from reports.figures.style import apply_style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What figures draw paper, ink, lines and full training in: the page's own colours, dark or light.
COLOURS = {
    "#ffffff": "--sheet",
    "#000000": "--ink",
    "#222222": "--ink",
    "#555555": "--faint-ink",
    "#666666": "--faint-ink",
    "#888888": "--axis",
    "#e6e6e6": "--grid",
    "#a0001c": "--bad",
}
REFERENCE = re.compile(r"url\(#([^)]+)\)")
COLOUR = re.compile("|".join(COLOURS), re.IGNORECASE)


def inline_svg(drawing: Drawing, svg: str | None = None) -> Markup:
    """The SVG element of a drawing, named by its title for those who do not see it.

    svg: the drawing as an SVG document; drawn if it is not given.
    """
    return parse_svg(svg or _render_svg(drawing), drawing.name, f"{drawing.title}. {drawing.note}")


def parse_svg(text: str, prefix: str, label: str) -> Markup:
    """An SVG document's text as an element whose ids begin with `prefix`."""
    root = ET.fromstring(text)
    _drop_elements(root, ("metadata", "style"))
    used = _find_used_ids(root)
    for node in root.iter():
        _prefix_ids(node, prefix, used)
    width = root.get("viewBox", "0 0 600 400").split()[2]
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    ET.register_namespace("", SVG)
    body = ET.tostring(root, encoding="unicode")
    # Points are 1/72 inch, pixels 1/96.
    width = f"{float(width) * 96 / 72:.0f}px"
    opening = f'<svg role="img" aria-label={quoteattr(label)} style="--width: {width}"'
    return Markup(body.replace("<svg", opening, 1))  # made here, not by a user


def _render_svg(drawing: Drawing) -> str:
    """Draw it."""
    with apply_style():
        figure = drawing.draw()
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # laid out once, not again to be saved
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _drop_elements(root: ET.Element, names: tuple[str, ...]) -> None:
    """Take elements of these names out, wherever they are."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{SVG}}}{name}" for name in names}:
                parent.remove(child)


def _find_used_ids(root: ET.Element) -> set[str]:
    """The ids that something refers to."""
    found = set()
    for node in root.iter():
        for key, value in node.attrib.items():
            if key in ("href", f"{{{XLINK}}}href"):
                found.add(value.removeprefix("#"))
            found |= set(REFERENCE.findall(value))
    return found


def _prefix_ids(node: ET.Element, prefix: str, used: set[str]) -> None:
    """Prefix a node's id and references, and give its greys to the page."""
    for key, value in list(node.attrib.items()):
        if key == "id":
            del node.attrib[key]
            if value in used:
                node.set("id", f"{prefix}-{value}")
        elif key == f"{{{XLINK}}}href":
            del node.attrib[key]  # in HTML it is plain href; an image holds its data there
            node.set("href", f"#{prefix}-{value[1:]}" if value.startswith("#") else value)
        elif key == "style":
            value = COLOUR.sub(lambda m: f"var({COLOURS[m[0].lower()]})", value)
            node.set(key, REFERENCE.sub(rf"url(#{prefix}-\1)", value))
        elif "#" in value:
            node.set(key, REFERENCE.sub(rf"url(#{prefix}-\1)", value))
