"""The book's chapter beside what was trained here: the protocol "epochs", of each workload the newest run's cases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from impls.workload import Workload
from reports import plots
from reports.book import BOOK_ROWS, LINEAR_ERROR_PERCENT
from reports.tables import ERRORS, SPLITS, STATE, Table, reasons, valid_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.load import Case
    from reports.plots import Picture

EPOCHS = 1000
NEAR = 0.15  # points of error that two runs of the same training may differ by: the book has one digit
TERMS = {"network": "conditions", "init": "conditions", "epochs": "epochs", "implementation": "case"}
TERMS |= {"CPU (s)": "time", "GPU (s)": "time", ERRORS: "error", "target": "target", "resumed": "resumed"}
TERMS |= {STATE: "state"}
NOTES = (
    "The book's times cover validation and prints, and its hardware is not stated; times here are of training alone.",
    "The book's error of its MLP is met by the training error of a re-run with its settings.",
)


def errors(case: Case) -> str:
    """Return the three error rates at the end."""
    return " ".join(f"{case.error_rates[name]:.2f}" for name in SPLITS if name in case.error_rates)


def target(case: Case) -> str:
    """Return when the case came to the validation error that was asked for."""
    if not (case.training and case.state == "valid"):
        return ""
    wanted, seconds = case.training.target_error_percent, case.training.target_seconds
    return f"{wanted:g} % " + ("not reached" if seconds is None else f"after {seconds:.0f} s")


def table(runs: Sequence[Sequence[Case]]) -> Table:
    """Return one row for each network and implementation, the book's on top."""
    cpu, gpu = BOOK_ROWS
    network, linear = Workload().network, replace(Workload(), model="linear").network
    rows: list[dict[str, str]] = [
        {"network": network, "init": "book", "epochs": f"{EPOCHS:,}", "implementation": "book, Theano"}
        | {"CPU (s)": f"{cpu.seconds:.0f}", "GPU (s)": f"{gpu.seconds:.0f}", ERRORS: f"{cpu.train_error_percent:.0f}"},
        {"network": linear, "implementation": "book, Theano", ERRORS: f"{LINEAR_ERROR_PERCENT:.0f}"},
    ]
    numbers = []
    for cases in runs:
        found: dict[str, dict[str, str]] = {}
        for case in cases:
            described = case.workload
            row = found.setdefault(case.implementation, {"implementation": case.implementation})
            row |= {"network": described.network, "init": described.init, STATE: str(case.state)}
            if case.training:
                row |= {"epochs": f"{case.training.epochs:,}", "resumed": str(case.training.resumed)}
            if case.state == "valid":
                device = "GPU (s)" if case.device.startswith("cuda") else "CPU (s)"
                row |= {device: f"{case.timed.value:.1f}", ERRORS: errors(case), "target": target(case)}
                numbers.append(
                    {"case": case.case, "fingerprint": case.fingerprint, "updates": case.iterations}
                    | {"network": described.network, "init": described.init, "seconds": case.timed.value}
                    | {f"{name}_error_percent": case.error_rates.get(name) for name in SPLITS}
                )
        rows += found.values()
    frame = pd.DataFrame(rows, columns=list(TERMS)).fillna("")
    notes = (*NOTES, *(reason for cases in runs for reason in reasons(cases)))
    return Table("chapter", "The chapter", frame, TERMS, notes, 2, pd.DataFrame(numbers))


def span(values: Sequence[float]) -> str:
    """Return one figure, or the lowest and the highest."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def matching(runs: Sequence[Sequence[Case]], wanted: Workload, epochs: int) -> list[Case]:
    """Return the valid cases that have trained ``wanted`` on MNIST for so long, from whatever seed."""
    return [
        case
        for cases in runs
        for case in valid_cases(cases)
        if case.data.name == "MNIST" and case.training and case.training.epochs == epochs
        if replace(case.workload, data="", seed=0) == wanted
    ]


def verdict(runs: Sequence[Sequence[Case]]) -> str:
    """Return the paragraph that says which of the book's figures hold."""
    sentences = []
    mlp = matching(runs, Workload(init="book"), EPOCHS)
    if mlp:
        train, validation, test = ([case.error_rates[name] for case in mlp] for name in SPLITS)
        book = BOOK_ROWS[0].train_error_percent
        word = "reproduced" if all(abs(each - book) <= NEAR for each in train) else "not reproduced"
        fastest = min(mlp, key=lambda case: case.timed.value)
        names = ", ".join(case.case for case in mlp)
        sentences.append(
            f"The book's {book:.0f} % is {word} as a training error: {span(train)} after 1,000 epochs in {names};"
            f" the validation error is {span(validation)} and the test error {span(test)}."
        )
        sentences.append(
            f"The fastest, {fastest.case}, trained for {fastest.timed.value:,.0f} s; the book's CPU run took"
            f" {BOOK_ROWS[0].seconds:,} s on hardware that it does not state, so neither says anything of the other."
        )
    else:
        sentences.append(
            "The book's run, 1,000 epochs on MNIST, is not among the saved ones: pytest bench/test_epochs.py makes it."
        )
    linear = matching(runs, Workload(model="linear", learning_rate=0.13, init="book"), 100)
    if linear:
        lowest = [min(case.error_rates.values()) for case in linear]
        word = "are" if all(each - LINEAR_ERROR_PERCENT <= NEAR for each in lowest) else "are not"
        validation = [case.error_rates["validation"] for case in linear]
        sentences.append(
            f"The {LINEAR_ERROR_PERCENT:.0f} % of its linear model {word} reproduced by the stated settings: the"
            f" validation error after 100 epochs is {span(validation)}."
        )
    return " ".join(sentences)


def pictures(runs: Sequence[Sequence[Case]]) -> list[Picture]:
    """Return each network's curves of the validation error."""
    found = ((cases, plots.errors(cases)) for cases in runs)
    return [
        replace(picture, name=f"error-{number}", title=f"{cases[0].workload.network}: {picture.title}")
        for number, (cases, picture) in enumerate(found, 1)
        if picture
    ]
