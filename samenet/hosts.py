"""Hosts of one kind: what is typical of them, how much they differ, and which one is odd."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from samenet.records import Quantity
from samenet.results import Outcome
from samenet.stats import CONFIDENCE, geometric_mean, t_quantile
from samenet.verdicts import confidence, outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samenet.results import ComparisonRecord, Verdict
    from samenet.stats import Estimate

FEWEST_TO_JUDGE = 4  # hosts: of three, each could be the odd one
MOST_ODD = 3  # one host in so many: beyond that it is not clear which ones are odd
ODD = 0.05  # chance of naming any host, in all figures of a kind, where hosts differ like normal values


@dataclass(frozen=True, kw_only=True)
class OverHosts:
    """A positive figure over hosts.

    Attributes:
        typical: the geometric mean of the hosts' own figures; its interval is for hosts of this kind.
        spread: the standard deviation between hosts, as a share; nan for one host.
        odd: the hosts that are further from the others than chance explains.
    """

    typical: Estimate
    spread: float
    odd: tuple[str, ...]


def over_hosts(values: Mapping[str, float], level: float = CONFIDENCE, *, figures: int = 1) -> OverHosts:
    """Return what positive ``values``, one for each host, say of hosts of this kind; they are one of ``figures``.

    A host is one independent value however many rounds it has measured, so the interval is Student's t over the hosts,
    on the log scale. The launches of all hosts pooled would give one that is far too narrow: with hosts that differ by
    3 %, and launches by 1 %, five of each hold the truth in 50 to 65 % of the cases.
    """
    logs = {host: math.log(value) for host, value in values.items()}
    typical = geometric_mean(list(logs.values()), level)
    return OverHosts(typical=typical, spread=typical.error * math.sqrt(len(logs)), odd=odd_hosts(logs, ODD / figures))


def judge_hosts(records: Mapping[str, ComparisonRecord]) -> list[Verdict]:
    """Return the verdicts on hosts of a kind together, from what a comparison found on each of them."""
    found: dict[tuple[str, Quantity], dict[str, Verdict]] = {}
    for host, record in records.items():
        for verdict in record.verdicts:
            found.setdefault((verdict.case, verdict.quantity), {})[host] = verdict
    level = confidence(len(found))
    tolerance = max((record.tolerance for record in records.values()), default=0.0)
    return [judge_case_on_hosts(verdicts, tolerance, level) for verdicts in found.values()]


def judge_case_on_hosts(verdicts: Mapping[str, Verdict], tolerance: float, level: float) -> Verdict:
    """Return the verdict on a case over hosts of a kind.

    A regression on any host is one, and is named. Otherwise what all of them say holds; where they say different
    things, and for the steady step, the interval over the hosts decides.
    """
    first = next(iter(verdicts.values()))
    if len(verdicts) == 1:
        return first
    ratios = {host: verdict.ratio.value for host, verdict in verdicts.items() if verdict.ratio}
    ratio = over_hosts(ratios, level).typical if ratios else None
    worse = {host: verdict for host, verdict in verdicts.items() if verdict.regression}
    words = {verdict.word for verdict in verdicts.values()}
    said = ", ".join(f"{verdict.word} on {host}" for host, verdict in (worse or verdicts).items())
    if worse:
        word = Outcome.UNVERIFIED if Outcome.UNVERIFIED in words else next(iter(worse.values())).word
        return replace(first, word=word, ratio=ratio, reason=said)
    if len(words) == 1 and first.word is not Outcome.INCONCLUSIVE:
        return replace(first, ratio=ratio)
    if first.quantity is Quantity.STEADY and len(ratios) == len(verdicts) and ratio and ratio.has_interval:
        word = outcome(ratio, tolerance)
        return replace(first, word=word, ratio=ratio, reason=said if word is Outcome.INCONCLUSIVE else "")
    return replace(first, word=Outcome.INCONCLUSIVE, ratio=ratio, reason=said)


def odd_hosts(values: Mapping[str, float], chance: float) -> tuple[str, ...]:
    """Return the hosts that differ from the others by more than chance explains, the farthest first.

    It is Rosner's generalized test for up to so many outliers (Technometrics 25, 1983): one host after the other is
    taken away, the farthest from the mean first, and all up to the last one that is too far are odd. So two that are
    equally slow do not hide each other.
    """
    kept, taken, odd = dict(values), list[str](), 0
    for _ in range(len(values) // MOST_ODD if len(values) >= FEWEST_TO_JUDGE else 0):
        logs = np.array(list(kept.values()))
        scale = float(logs.std(ddof=1))
        if not scale:
            break
        distances = {name: abs(value - float(logs.mean())) / scale for name, value in kept.items()}
        name = max(distances, key=lambda each: distances[each])
        taken.append(name)
        if distances[name] > farthest_by_chance(len(kept), chance):
            odd = len(taken)
        del kept[name]
    return tuple(taken[:odd])


def farthest_by_chance(count: int, chance: float) -> float:
    """Return how far, in standard deviations, the farthest of so many normal values is with this chance."""
    t = t_quantile(count - 2, 1 - chance / (2 * count))
    return t * (count - 1) / math.sqrt((count - 2 + t**2) * count)
