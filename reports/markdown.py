"""Tables as Markdown, in which nothing that a saved run holds can do more than be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import page

if TYPE_CHECKING:
    from reports.tables import Table


def markdown_table(table: Table) -> list[str]:
    """Return a table with its title and notes."""
    frame = table.frame.map(inert)
    frame.columns = pd.Index([inert(name) for name in frame.columns])
    # Text that looks like a number would be rewritten: the digits are the interval's business.
    text = frame.to_markdown(index=False, disable_numparse=True, colalign=alignment(table)) if len(frame) else "None."
    return [f"### {table.title}", "", text, "", *(f"{inert(note)}\n" for note in table.notes)]


def inert(text: str) -> str:
    """Return ``text`` so that Markdown shows it and does nothing else with it."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`|[]*":
        flat = flat.replace(sign, f"\\{sign}")
    return flat.replace("@", "@\u200b")  # mentions nobody


def alignment(table: Table) -> list[str]:
    """Return each column's side: figures to the right."""
    return ["right" if page.is_figure(table.terms.get(name, "")) else "left" for name in table.frame.columns]
