"""HTML from values: everything that comes from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template
from typing import Any


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(value: Any) -> Html:
    """Returns a value as HTML; only `Html` is taken as it is.

    Example:
        >>> escape("<b>")
        '&lt;b&gt;'
    """
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """Returns an element; children and attribute values are escaped, `class_` stands for class.

    Example:
        >>> tag("p", "1 < 2", class_="note")
        '<p class="note">1 &lt; 2</p>'
    """
    pairs = (f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{''.join(pairs)}>{''.join(map(escape, children))}</{name}>")


def join(parts: Iterable[Any]) -> Html:
    """Returns parts one after the other."""
    return Html("".join(map(escape, parts)))


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, text: int = 1) -> Html:
    """Returns a table that scrolls sideways where it is too wide.

    Args:
        headings: One a column.
        rows: Cells; `Html` is taken as it is.
        text: The first so many columns are text, the others numbers.
    """

    def line(name: str, cells: Sequence[Any]) -> Html:
        return tag("tr", *(tag(name, c, **({} if i < text else {"class": "n"})) for i, c in enumerate(cells)))

    head, body = tag("thead", line("th", headings)), tag("tbody", *(line("td", row) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")


def bar(share: float) -> Html:
    """Returns a horizontal bar for a share from 0 to 1."""
    return Html(f'<span class="bar" style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></span>')


def details(summary: str, *children: Any, is_open: bool = False) -> Html:
    """Returns what is shown when its summary is clicked."""
    return tag("details", tag("summary", summary), *children, **({"open": ""} if is_open else {}))


def section(title: str, *children: Any) -> Html:
    """Returns a section with a heading."""
    return tag("section", tag("h2", title), *children)


def page(title: str, body: Html) -> bytes:
    """Returns a whole page, UTF-8."""
    text = resources.files("kerasft.reports").joinpath("page.html").read_text(encoding="utf-8")
    filled = Template(text).substitute(title=escape(title), body=body)
    # A folder's name may hold bytes that are no UTF-8; Python shows them as lone surrogates.
    return filled.encode(errors="replace")
