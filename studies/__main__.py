"""The studies behind docs/evidence.md, which has their figures, such as ``same``.

python -m studies same --repeats 20

``gpu`` measures in 20 minutes what a GPU has to give, and exits with 2 where there is none.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from samenet import SamenetError
from studies.against import against
from studies.blocks import blocks
from studies.carrier import carrier
from studies.gpu import NoGpuError, gpu
from studies.options import BASELINE, PLAIN_LANES, PUBLISHED, Options
from studies.planting import PLANTS
from studies.repeats import same, spread
from studies.searches import gates, searches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Study(NamedTuple):
    """A study, and how much it measures by default."""

    run: Callable[[Options], None]
    iterations: int
    rounds: int
    launches: int


STUDIES = {
    "same": Study(same, 50, 5, 4),
    "spread": Study(spread, 50, 5, 4),
    "blocks": Study(blocks, 20, 250, 1),
    # Rounds of the plain side: more than the second's worth that pytest-benchmark measures by default. Launches of the
    # calibration: the ratios of two differ by 1 %.
    "against": Study(against, 5, 100, 16),
    "searches": Study(searches, 20, 1, 1),  # as many rounds and launches as it takes
    "gates": Study(gates, 20, 1, 1),
    "carrier": Study(carrier, 100, 3, 60),
    "gpu": Study(gpu, 1000, 1, 1),  # each part has settings of its own
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--case", default=BASELINE, help="implementation that is entered twice, or made slower")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--launches", type=int, help="with against: of the calibration")
    parser.add_argument("--rounds", type=int, help="with against: of pytest-benchmark")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the first campaign; the next ones count up from it")
    parser.add_argument("--data", type=lambda text: Path(text).absolute(), help="default: $SAMENET_DATA")
    parser.add_argument(
        "--names", nargs="+", default=PLAIN_LANES, metavar="NAME", help="not with same; spread compares them with numpy"
    )
    only = parser.add_argument_group("against")
    only.add_argument("--percent", type=float, default=0.0, help="how much slower --case is made; default: not at all")
    parser.add_argument("--budget", type=float, default=90.0, metavar="SECONDS", help="of a comparison; default: 90")
    only.add_argument("--tolerance", type=float, default=2.0, metavar="PERCENT", help="of pytest bench/")
    day = parser.add_argument_group("gpu")
    day.add_argument("--minutes", type=float, default=20.0, help="after which no part begins; default: 20")
    day.add_argument("--storage", type=Path, default=PUBLISHED, help="of the saved runs; default: reports/published")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run the study that it names."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    study = STUDIES[given.pop("study")]
    if given["percent"] and given["case"] not in PLANTS:
        parser.error(f"cannot make {given['case']} slower; choose one of: {', '.join(PLANTS)}")
    efforts = {name: given[name] or getattr(study, name) for name in ("iterations", "rounds", "launches")}
    try:
        study.run(Options(**{**given, **efforts, "names": tuple(given["names"])}))
    except NoGpuError as error:
        parser.exit(2, f"{error}\n")
    except SamenetError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
