"""Saved runs made wrong: in their structure, where they stay JSON, and in their text, where most do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from samenet.environments import ROOT
from tests.support.saved_runs import failed, record, run, training

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    Place = tuple[str | int, ...]

DEEP = "\N{SNOWMAN}deep"  # a placeholder: JSON that is nested this deep cannot be written by json
ODD: list[Any] = [0, -1, 1, 0.5, 1e308, -1e308, 1e40, 5e-324, 10**18, -(10**18), 10**400, True, False, None, DEEP]
ODD += [float("nan"), float("inf"), -float("inf"), "", " ", "NaN", "\x00", "\ud800", "\N{PILE OF POO}", "../..", "$(x)"]
ODD += ["<script>alert(1)</script>|$x$\\input{y}_%&\n", "9" * 10_000, [], {}, [None], [[]], {"": None}, "2026-13-01"]
ODD += [
    1 - 2**-53,
    -0.5,
    2,
    250,
    "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59+00:00",
    "2026-01-01T00:00:00",
    list(range(1000)),
]
FACTORS = (-1, 0, 1e-30, 0.1, 10, 1000, 1e9, 1e30)
TOKENS = (b"NaN", b"1e999", b"-", b"null", b'"', b"{", b"]", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\r\n", b"//", b"'")


def originals() -> list[bytes]:
    """Return runs of both schemas with every record that there is: real ones, and made-up ones."""
    real = [
        *sorted((ROOT / "tests/data/schema-1").glob("*.json")),
        *sorted((ROOT / "reports/published").rglob("*.json")),
    ]
    case = record(losses=[1.0])
    case["rounds"] = [each | {"steps": 1000} for each in case["rounds"]]
    case["rounds"][0] |= {"gpu": {"megahertz": 1.0, "slowdown": "heat"}}
    case["rounds"][1] |= {"disturbance": {"cause": "throttled", "detail": "throttled by heat"}}
    mixed = run(case, training() | {"losses": [1.0]}, failed("torch", losses=[]), campaign={"id": "one"})
    whole = run(record("torch"), record("jax"), hours=1)
    whole["samenet"] |= {"bound": record("bound"), "again": record("numpy")}
    verdict = {"case": "torch-cpu", "word": "slower", "ratio": {"value": 1.1, "low": 1.05, "high": 1.2}}
    about = {
        "revision": "main",
        "commit": "c0ffee",
        "tolerance": 0.02,
        "verdicts": [verdict],
        "before": [record("torch")],
    }
    whole["samenet"]["against"] = about
    return [*(path.read_bytes() for path in real), *(json.dumps(each).encode() for each in (mixed, whole))]


def places(value: object, *above: str | int) -> Iterator[Place]:
    """Yield the place of each value in parsed JSON but the outermost; of a list the first and the last one."""
    if above:
        yield above
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, *above, key)
    elif isinstance(value, list):
        for number in sorted({0, len(value) - 1}) if value else ():
            yield from places(value[number], *above, number)


def mutate(random: Random, sources: list[bytes]) -> bytes:
    """Return one of the ``sources`` with one to three mutations, of its structure or of its text."""
    text = random.choice(sources)
    if random.random() < 0.7:
        content = json.loads(text)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            mutate_structure(random, content)
        text = json.dumps(content).replace(json.dumps(DEEP), "[" * 100_000 + "]" * 100_000).encode()
        return duplicate_key(random, text) if random.random() < 0.05 else text
    for _ in range(random.choice((1, 1, 2, 3))):
        text = mutate_text(random, text)
    return text


def mutate_structure(random: Random, content: dict[str, Any]) -> None:
    """Change one value, or the presence, name or number of one, at a random place: half of the time by its name.

    A field that is there once, such as the confidence, is changed as often then as one of each round.
    """
    every = list(places(content))
    if not every:
        return
    name = random.choice(sorted({str(place[-1]) for place in every}))
    named = [place for place in every if str(place[-1]) == name]
    *above, key = random.choice(random.choice((every, named)))
    parent: Any = content
    for step in above:
        parent = parent[step]
    value = parent[key]
    match random.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[random.choice((str(key).upper(), f"{key} ", "", "\ud800"))] = parent.pop(key)
        case 2:
            parent[key] = random.choice(([value], {"value": value}, [value] * 50, str(value)))
        case 3:
            *other, last = random.choice(every)
            donor: Any = content
            for step in (*other, last):
                donor = donor[step] if is_there(donor, step) else None
            parent[key] = json.loads(json.dumps(donor))  # a copy: it may hold this very place
        case 4 if isinstance(value, int | float) and not isinstance(value, bool):
            parent[key] = value * random.choice(FACTORS)
        case _:
            parent[key] = random.choice(ODD)


def is_there(value: object, step: str | int) -> bool:
    """Return whether ``value`` has an entry for ``step``."""
    return step in value if isinstance(value, dict) else isinstance(value, list) and -1 < int(step) < len(value)


def duplicate_key(random: Random, text: bytes) -> bytes:
    """Return JSON with one of its keys there twice."""
    starts = [place for place in range(len(text)) if text.startswith(b'{"', place)][:200]
    place = random.choice(starts) + 1
    end = text.index(b":", place)
    return text[:place] + text[place:end] + b": 0, " + text[place:]


def mutate_text(random: Random, text: bytes) -> bytes:
    """Return ``text`` cut short, with other bytes, or with a part left out or repeated."""
    if not text:
        return text
    begin, end = sorted(random.randrange(len(text) + 1) for _ in range(2))
    match random.randrange(7):
        case 0:
            text = text[:begin]
        case 1:
            flipped = bytearray(text)
            for place in random.sample(range(len(text)), min(len(text), random.choice((1, 5, 100)))):
                flipped[place] ^= 1 << random.randrange(8)
            text = bytes(flipped)
        case 2:
            text = text[:begin] + text[min(end, begin + 50) :]
        case 3:
            text = text[:end] + text[begin:]
        case 4:
            text = text[:begin] + random.choice(TOKENS) + text[begin:]
        case 5:
            text = text.decode(errors="replace").encode(random.choice(("utf-16", "utf-32", "utf-7")))
        case _:
            digits = [place for place in range(begin, min(end, begin + 2000)) if text[place : place + 1].isdigit()]
            place = random.choice(digits or [0])
            text = text[:place] + random.choice((b"-", b"e", b"99999999999999999999", b".")) + text[place:]
    return text
