"""The run that heads every report: what the book measured, and what its figures mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BookRow:
    """One row of the book: *Deep Learning with Theano* (Bourez, Packt, 2017), chapter 2, "Multiple layer model".

    ``seconds`` covers 1,000 epochs of 83 updates and a validation pass every 1,000 updates; compiling and loading are
    not in it, and the hardware is unknown. A re-run of its settings in float32 numpy has 2.00 % on the training
    set, 2.70 % on the validation set and 2.99 % on the test set: the published error is the training error.
    """

    case: str
    seconds: float
    train_error_percent: float = 2.0
    protocol: str = "1,000 epochs*"


BOOK_ROWS = (
    BookRow("book, Theano, CPU", 51 * 60 + 36),
    BookRow("book, Theano, GPU", 5 * 60 + 55),
)
LINEAR_ERROR_PERCENT = 5.0  # of which set, and after how many epochs, the book does not say
FOOTNOTE = "* The book's runs took 1,000 epochs, which are 83,000 iterations, and 2 % is their training error."
