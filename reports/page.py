"""The report as one HTML page that loads nothing: style, script, pictures and data are inside."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.terms import TERMS

if TYPE_CHECKING:
    import pandas as pd

    from reports.document import Report


def data_uri(text: str, kind: str) -> str:
    """Return ``text`` as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode('ascii')}"


def csv_uri(frame: pd.DataFrame) -> str:
    """Return a table's data as an address that a browser saves."""
    return data_uri(frame.to_csv(index=False), "text/csv")


def render(report: Report) -> str:
    """Return the page; the text of a saved run is shown as text, and no script but our own may run."""
    folder = Path(__file__).parent
    script = (folder / "page.js").read_text(encoding="utf-8")
    style = (folder / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"csv_uri": csv_uri, "svg_uri": lambda svg: data_uri(svg, "image/svg+xml")}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    template = environment.get_template("page.html.jinja")
    return template.render(report=report, script=script, style=style, digest=digest, terms=TERMS)
