"""One odd value in one field of one saved file affects that file alone, whatever the value and the field."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reports.__main__ import main
from samenet.environments import ROOT
from samenet.storage import read_storage
from tests.support.saved_runs import failed, record, run, save, training

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

OLD = ROOT / "tests/data/schema-1"
DEEP = "[" * 100_000 + "]" * 100_000
NESTED = json.loads("[" * 300 + "]" * 300)
ODD: list[Any] = [0, -1, 1, 0.5, 1 - 2**-53, 1e308, -1e308, 5e-324, math.nan, math.inf, 10**18, 10**400, True, None]
ODD += ["", "\x00", "\ud800", "9" * 10_000, [], {}, [None], NESTED, {"": None}]


def paths(value: object, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of each value in parsed JSON; of a list only the first one."""
    yield above
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, *above, key)
    elif isinstance(value, list) and value:
        yield from paths(value[0], *above, 0)


def mutated(content: dict[str, Any], path: tuple[str | int, ...], value: object) -> str:
    """Return ``content`` as JSON with another ``value`` at ``path``."""
    if not path:
        return json.dumps(value)
    content = json.loads(json.dumps(content))
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(content)


def bases() -> list[dict[str, Any]]:
    """Return runs of both schemas with every record that there is."""
    old = [json.loads(path.read_text()) for path in sorted(OLD.glob("*.json"))]
    gpu = {"megahertz": 1.0, "slowdown": "heat"}
    case = record(losses=[1.0])
    case["rounds"][0] |= {"gpu": gpu, "disturbance": {"cause": "throttled", "detail": "throttled by heat"}}
    return [*old, run(case, training() | {"losses": [1.0]}, failed("torch", losses=[]))]


BASES = bases()
PLACES = [(number, path) for number, base in enumerate(BASES) for path in paths(base)]


@settings(max_examples=400, deadline=None)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(ODD) | st.just(DEEP))
def test_no_value_of_one_file_hides_another_file(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[int, tuple[str | int, ...]], value: object
) -> None:
    """Whatever stands in whichever field: the file is read or left out with a reason, and the other one is there."""
    folder = tmp_path_factory.mktemp("storage")
    good = save(folder, "good", run(record("good", losses=[]), hours=-1))
    text = mutated(BASES[place[0]], place[1], value)
    save(folder, "odd", None).write_text(text.replace(json.dumps(DEEP), DEEP))
    storage = read_storage(folder)
    shown = [(part.commit, part.machine, part.cases) for group in storage.groups for part in group.slices]
    assert str(shown).encode()  # no page could be written with half of a character
    assert "good-cpu" in {case.case for group in storage.groups for part in group.slices for case in part.cases}
    assert all(rejected.path.stem == "odd" and rejected.reason for rejected in storage.rejected)
    copy = save(folder, "second", run(record("good", losses=[]), hours=-2))
    assert main(["compare", str(good), str(copy), "--storage", str(folder), "--allow-empty"]) in {0, 2}
