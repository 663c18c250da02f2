"""The book's chapter and what was trained here, from the newest run of each workload in the protocol "epochs"."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from impls.workload import Workload
from reports.book import BOOK_ROWS, LINEAR_ERROR_PERCENT
from reports.cases import SPLITS, by_device, error_rates, row_name
from reports.document import Column, Role, Row, Table
from reports.sentences import reasons
from reports.tables import CPU, ERRORS, GPU, STATE, state_column
from samenet.records import State
from samenet.speedups import valid_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samenet.results import CaseResult

EPOCHS = 1000
NEAR = 0.15  # points of error that two runs of the same training may differ by: the book has one digit
COLUMNS = (
    Column("network", "conditions"),
    Column("init", "conditions", rank=4),
    Column("epochs", "epochs", numeric=True, rank=2),
    Column("implementation", "case", rank=0),
    CPU,
    GPU,
    replace(ERRORS, rank=0),
    Column("target", "target", numeric=True, rank=5),
    Column("resumed", "resumed", numeric=True, rank=6),
)
NOTES = (
    "The book's times include validation and prints, and its hardware is unknown; times here are of training alone.",
    "The book's error of its MLP is the training error of a re-run with its settings.",
)


def target(case: CaseResult) -> str:
    """Return when the case reached the validation error that was asked for."""
    if not case.training:
        return ""
    wanted, seconds = case.training.target_error_percent, case.training.target_seconds
    return f"{wanted:g} % " + ("not reached" if seconds is None else f"after {seconds:.0f} s")


def book_rows() -> tuple[Row, Row]:
    """Return the book's two networks."""
    cpu, gpu = BOOK_ROWS
    network, linear = Workload().network, replace(Workload(), model="linear").network
    mlp = {"network": network, "init": "book", "epochs": f"{EPOCHS:,}", "implementation": "book, Theano"}
    mlp |= {
        CPU.name: f"{cpu.seconds:.0f}",
        GPU.name: f"{gpu.seconds:.0f}",
        ERRORS.name: f"{cpu.train_error_percent:.0f}",
    }
    other = {"network": linear, "implementation": "book, Theano", ERRORS.name: f"{LINEAR_ERROR_PERCENT:.0f}"}
    return Row(mlp, pinned=True), Row(other, pinned=True)


def table(runs: Sequence[Sequence[CaseResult]]) -> Table:
    """Return one row for each network and implementation, the book's first."""
    rows = [row for cases in runs for row in run_rows(cases)]
    numbers = [number for cases in runs for number in map(numbers_of, valid_cases(cases))]
    notes = (*NOTES, *(reason for cases in runs for reason in reasons(cases)))
    return Table(
        name="chapter",
        title="The chapter",
        columns=(*COLUMNS, state_column([case for cases in runs for case in cases])),
        rows=(*book_rows(), *rows),
        notes=notes,
        numbers=pd.DataFrame(numbers),
        role=Role.MAIN,
        instead={STATE.name: ()},
    )


def run_rows(cases: Sequence[CaseResult]) -> list[Row]:
    """Return one row for each implementation of a run, its CPU and GPU together; a second GPU has a row of its own."""
    rows: dict[str, list[CaseResult]] = {}
    for case in cases:
        rows.setdefault(row_name(case), []).append(case)
    return [row(name, members) for name, members in rows.items()]


def row(name: str, cases: Sequence[CaseResult]) -> Row:
    """Return the row of an implementation on the CPU, a GPU or both; where the two differ in a text, it has both."""
    valid = [case for case in cases if case.state is State.VALID]
    cells = {"implementation": name, "network": cases[0].workload.network, "init": cases[0].workload.init}
    cells[STATE.name] = by_device({case.device: str(case.state) for case in cases})
    if trained := {case.device: case.training for case in cases if case.training}:
        cells["epochs"] = by_device({device: f"{each.epochs:,}" for device, each in trained.items()})
        cells["resumed"] = by_device({device: str(each.resumed) for device, each in trained.items()})
    if valid:
        cells[ERRORS.name] = by_device({case.device: error_rates(case) for case in valid})
        cells["target"] = by_device({case.device: target(case) for case in valid})
    for case in valid:
        cells[(CPU if case.device == "cpu" else GPU).name] = f"{case.timed.value:.1f}"
    return Row(cells, marked=not valid)


def numbers_of(case: CaseResult) -> dict[str, Any]:
    """Return a valid case's figures, unrounded."""
    about: dict[str, Any] = {"case": case.case, "fingerprint": case.fingerprint, "updates": case.iterations}
    about |= {"network": case.workload.network, "init": case.workload.init, "seconds": case.timed.value}
    return about | {f"{name}_error_percent": case.error_rates.get(name) for name in SPLITS}


def span(values: Sequence[float]) -> str:
    """Return one figure, or the lowest and the highest."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def matching(runs: Sequence[Sequence[CaseResult]], wanted: Workload, epochs: int) -> list[CaseResult]:
    """Return the valid cases that trained ``wanted`` on MNIST for so many epochs, whatever the seed."""
    return [
        case
        for cases in runs
        for case in valid_cases(cases)
        if case.data.name == "MNIST" and case.training and case.training.epochs == epochs
        if case.error_rates.keys() >= set(SPLITS) and replace(case.workload, data="", seed=0) == wanted
    ]


def verdict(runs: Sequence[Sequence[CaseResult]]) -> str:
    """Return the paragraph that says which of the book's figures are reproduced."""
    mlp = matching(runs, Workload(init="book"), EPOCHS)
    linear = matching(runs, Workload(model="linear", learning_rate=0.13, init="book"), 100)
    missing = "The book's run, 1,000 epochs on MNIST, is not among the saved ones; run: pytest bench/test_epochs.py"
    return " ".join(filter(None, (mlp_sentences(mlp) if mlp else missing, linear_sentence(linear) if linear else "")))


def mlp_sentences(cases: Sequence[CaseResult]) -> str:
    """Say whether the book's 2 % is reproduced, and how long the fastest case trained."""
    train, validation, test = ([case.error_rates[name] for case in cases] for name in SPLITS)
    book = BOOK_ROWS[0]
    near = all(abs(error - book.train_error_percent) <= NEAR for error in train)
    fastest = min(cases, key=lambda case: case.timed.value)
    names = ", ".join(case.case for case in cases)
    return (
        f"The book's {book.train_error_percent:.0f} % is {'' if near else 'not '}reproduced as a training error:"
        f" {span(train)} after 1,000 epochs in {names}; the validation error is {span(validation)} and the test error"
        f" {span(test)}."
        f" The fastest, {fastest.case}, trained for {fastest.timed.value:,.0f} s; the book's CPU run took"
        f" {book.seconds:,} s on unknown hardware, so the two times cannot be compared."
    )


def linear_sentence(cases: Sequence[CaseResult]) -> str:
    """Say whether the 5 % of the book's linear model are reproduced."""
    lowest = [min(case.error_rates.values()) for case in cases]
    word = "are" if all(error - LINEAR_ERROR_PERCENT <= NEAR for error in lowest) else "are not"
    validation = span([case.error_rates["validation"] for case in cases])
    return (
        f"The {LINEAR_ERROR_PERCENT:.0f} % of its linear model {word} reproduced by the stated settings: the validation"
        f" error after 100 epochs is {validation}."
    )
