"""What of a case is compared with the same case before: the steady step, and what comes before it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from samenet import stats
from samenet.errors import SettingsError
from samenet.plan import ENTRY_SECONDS
from samenet.records import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samenet.results import CaseResult
    from samenet.stats import Estimate

TOLERANCE = 0.02  # the change of the steady step that is ignored, as a share, unless another one is given
FEW_SECONDS = 0.75  # of measuring, for each entry in a launch, where the steady step is not judged
TOLERANCES = {Quantity.FIRST_STEP: 0.1, Quantity.IMPORT: 0.1, Quantity.MEMORY: 0.03}


def values(quantity: Quantity, case: CaseResult) -> dict[tuple[int, int], float]:
    """Return what a case has of ``quantity`` by (launch, turn): s of a round, s of one start, or bytes.

    The first launch reads what it imports from the disk, and does not count for a start. An import is that of Python's
    own start and of numpy too, which a worker needs before the framework. Memory is without the pages of
    files: how many of a library's pages a process counts depends on how the kernel has read it, by 9 % in all for jax.
    """
    starts = [each for each in case.launches[1:] if each.cold and each.phases]
    found: dict[int, float | None] = {}
    match quantity:
        case Quantity.STEADY:
            return case.clean_seconds
        case Quantity.FIRST_STEP:
            found = {each.launch: (each.build_seconds or 0) + (each.first_step_seconds or 0) for each in starts}
        case Quantity.IMPORT:
            found = {each.launch: (each.start_seconds or 0) + (each.import_seconds or 0) for each in starts}
        case Quantity.MEMORY:
            found = {each.launch: (each.peak_bytes or 0) - (each.file_bytes or 0) for each in case.launches}
    return {(launch, 0): value for launch, value in found.items() if value and 0 < value < math.inf}


def typical(quantity: Quantity, case: CaseResult) -> Estimate | None:
    """Return what is typical of ``quantity`` over the launches of a valid case, None where none shows it."""
    if quantity is Quantity.STEADY:
        return case.timed
    measured = values(quantity, case)
    return stats.median(measured, case.confidence) if measured else None


def parse_gates(text: str, tolerance: float) -> dict[Quantity, float]:
    """Read ``quantity[=percent],...``; return the tolerances (0.02 is 2 %) by quantity, ``tolerance`` for steady.

    Raises:
        SettingsError: ``text`` has another form.
    """
    default = {Quantity.STEADY: tolerance} | TOLERANCES
    gates: dict[Quantity, float] = {}
    for part in text.split(","):
        name, equals, percent = part.strip().partition("=")
        try:
            quantity = Quantity(name)
            if quantity in gates:
                raise SettingsError(f"{text!r} has {quantity} twice; leave one of them out")
            gates[quantity] = float(percent) / 100 if equals else default[quantity]
        except ValueError:
            gates = {}
            break
    if not gates or not all(0 < each < float("inf") for each in gates.values()):
        raise SettingsError(
            f"{text!r} names no gates; write some of {', '.join(Quantity)}, with or without a tolerance in percent,"
            " such as steady=1,memory"
        )
    return gates


def cold(gates: Mapping[Quantity, float]) -> bool:
    """Return whether every launch has to start from nothing for ``gates``."""
    return any(quantity.is_cold for quantity in gates)


def entry_seconds(gates: Mapping[Quantity, float]) -> float:
    """Return how long each entry is measured in a launch: briefly where only more launches can tell more."""
    return ENTRY_SECONDS if Quantity.STEADY in gates else FEW_SECONDS
