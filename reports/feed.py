"""The regressions of a history as an Atom feed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from reports.numbers import CONTROLS, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reports.changes import Change

ATOM = "http://www.w3.org/2005/Atom"


def feed(changes: Sequence[Change]) -> str:
    """Return the regressions as an Atom feed (RFC 4287); an entry's id stays when later runs are added."""
    root = ET.Element(f"{{{ATOM}}}feed")
    worse = [change for change in changes if change.regression]
    updated = max(map(news, worse)).isoformat() if worse else "1970-01-01T00:00:00+00:00"
    add(root, {"title": "samenet: regressions", "id": "urn:samenet:regressions", "updated": updated})
    add(ET.SubElement(root, f"{{{ATOM}}}author"), {"name": "samenet"})
    for change in worse:
        add(ET.SubElement(root, f"{{{ATOM}}}entry"), entry(change))
    ET.register_namespace("", ATOM)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def news(change: Change) -> datetime:
    """Return when a change was last news: a slow trend goes on."""
    return change.until.when if change.what.is_trend else change.first.when


def entry(change: Change) -> dict[str, str]:
    """Return the elements of an entry; where a trend began is estimated again with each run: its id has the first."""
    where = change.group.conditions
    when = change.history.runs[0][0].when if change.what.is_trend else change.first.when
    key = f"{where.hardware}:{where.workload}:{change.case}:{change.what}:{when:%Y%m%dT%H%M%S}".replace(" ", "-")
    versions = f" Versions that changed: {change.versions}." if change.versions else ""
    return {
        "title": f"{change.case}: {change.what} {change.size}",
        "id": f"urn:samenet:{key}",
        "updated": news(change).isoformat(),
        "summary": f"In {change.commits}, since {moment(change.first.when)}.{versions}",
    }


def add(parent: ET.Element, texts: dict[str, str]) -> None:
    """Add an element for each text, without the characters that XML cannot hold."""
    for name, text in texts.items():
        ET.SubElement(parent, f"{{{ATOM}}}{name}").text = text.translate(CONTROLS)
