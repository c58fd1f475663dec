"""Figures as inline SVG elements with unique ids, in the colours of the page.

All SVG elements of an HTML document share one set of ids and one set of styles. Ids therefore get a
prefix. Unused ids and the global style sheet that matplotlib writes are removed.
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
# Colour in the figures: CSS variable of the page, which depends on the light or dark scheme.
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
    """Return a drawing as an SVG element, with its title and note as the accessible name.

    svg: the drawing as the text of an SVG document. If it is None, the drawing is rendered.
    """
    return parse_svg(svg or _render_svg(drawing), drawing.name, f"{drawing.title}. {drawing.note}")


def parse_svg(text: str, prefix: str, label: str) -> Markup:
    """Return an SVG document as an HTML element.

    text: the SVG document.
    prefix: first part of all ids.
    label: accessible name of the element.
    """
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
    # The viewBox is in points (1/72 inch), CSS widths are in pixels (1/96 inch).
    width = f"{float(width) * 96 / 72:.0f}px"
    opening = f'<svg role="img" aria-label={quoteattr(label)} style="--width: {width}"'
    return Markup(body.replace("<svg", opening, 1))  # trusted: drawn by this program


def _render_svg(drawing: Drawing) -> str:
    """Draw a figure and return it as an SVG document."""
    with apply_style():
        figure = drawing.draw()
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # keep this layout: savefig would compute it again
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _drop_elements(root: ET.Element, names: tuple[str, ...]) -> None:
    """Remove all elements with these tag names."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{SVG}}}{name}" for name in names}:
                parent.remove(child)


def _find_used_ids(root: ET.Element) -> set[str]:
    """Return the ids that an href or url(#…) refers to."""
    found = set()
    for node in root.iter():
        for key, value in node.attrib.items():
            if key in ("href", f"{{{XLINK}}}href"):
                found.add(value.removeprefix("#"))
            found |= set(REFERENCE.findall(value))
    return found


def _prefix_ids(node: ET.Element, prefix: str, used: set[str]) -> None:
    """Prefix the id and references of a node, and replace its colours with the page's variables."""
    for key, value in list(node.attrib.items()):
        if key == "id":
            del node.attrib[key]
            if value in used:
                node.set("id", f"{prefix}-{value}")
        elif key == f"{{{XLINK}}}href":
            del node.attrib[key]  # HTML uses href without a namespace; data: URLs stay unchanged
            node.set("href", f"#{prefix}-{value[1:]}" if value.startswith("#") else value)
        elif key == "style":
            value = COLOUR.sub(lambda m: f"var({COLOURS[m[0].lower()]})", value)
            node.set(key, REFERENCE.sub(rf"url(#{prefix}-\1)", value))
        elif "#" in value:
            node.set(key, REFERENCE.sub(rf"url(#{prefix}-\1)", value))
