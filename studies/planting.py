"""A slowdown of a known size, planted in an implementation's step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from samenet.environments import ROOT
from samenet.stats import Estimate, paired_ratio
from studies.laboratory import Laboratory, StudyError, enter

if TYPE_CHECKING:
    from pathlib import Path

    from studies.options import Options

ROUNDS, INTERPOLATIONS = 25, 2  # of the calibration


class Plant(NamedTuple):
    """Where an implementation's step can be made slower: ``extra`` repeats its forward pass on some rows."""

    file: str
    after: str
    extra: str


PLANTS = {
    "numpy": Plant(
        "impls/numpy_mlp.py",
        "    hidden, backward = hidden_layer(x, *first)\n",
        "    hidden_layer(x[:{rows}], *first)\n",
    ),
    "torch": Plant(
        "impls/torch_mlp.py",
        "        self._optimizer.zero_grad()\n",
        "        self._model(self._images[k][:{rows}])\n",
    ),
}


def plant(tree: Path, name: str, rows: int) -> None:
    """Let the step of the implementation ``name`` in ``tree`` repeat its forward pass on ``rows`` more rows.

    Raises:
        StudyError: the implementation has changed.
    """
    file, after, extra = PLANTS[name]
    head, separator, rest = (ROOT / file).read_text(encoding="utf-8").partition(after)
    if not separator:
        raise StudyError(f"{file} no longer has the line {after.strip()!r}; update PLANTS")
    (tree / file).write_text(head + separator + extra.format(rows=rows) + rest, encoding="utf-8")


def calibrate(options: Options, tree: Path) -> str:
    """Plant a slowdown of ``options.percent`` in ``tree``; return how large the paired ratio shows it to be.

    Separate campaigns measure it, which are not part of the repeats: with few rows and with many, since a call has a
    cost that does not depend on its rows, and then with numbers of rows in between.

    Raises:
        StudyError: the slowdown is not between those of few and of many rows.
    """
    laboratory, name = Laboratory(replace(options.settings, rounds=ROUNDS)), options.case
    now = replace(enter(name, "now"), group="pair")
    planted = replace(now, label="planted", root=tree)

    def slowdown(rows: int) -> Estimate:
        plant(tree, name, rows)
        results = laboratory.measure([now, planted], options.seed + rows)
        ratio = paired_ratio(results["planted"].clean_seconds, results["now"].clean_seconds)
        if ratio is None:
            raise StudyError("the calibration has no pair of undisturbed rounds; run again when the machine is quiet")
        return ratio

    wanted = 1 + options.percent / 100
    few, many = round(4 * options.percent), round(20 * options.percent)  # of 600
    least, most = slowdown(few).value, slowdown(many).value
    for _ in range(INTERPOLATIONS):
        if not least < wanted < most:
            raise StudyError(f"{few} to {many} more rows take {least:.3f} to {most:.3f} times the time; run again")
        rows = round(few + (many - few) * (wanted - least) / (most - least))
        ratio = slowdown(rows)
        if ratio.value < wanted:
            few, least = rows, ratio.value
        else:
            many, most = rows, ratio.value
    return f"{rows} more rows in {name}'s step: {ratio.text()} times the time"
