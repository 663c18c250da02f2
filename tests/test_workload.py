"""The workload: what can be described, what is refused, what two runs share."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from impls.workload import Workload, WorkloadError, initial_params
from samenet.overrides import parse_overrides


def test_every_field_changes_the_fingerprint() -> None:
    """Two workloads that differ in anything are never taken for one."""
    changed: dict[str, Any] = {
        "activation": "relu",
        "model": "linear",
        "leak": 0.5,
        "precision": None,
        "init": "book",
        "data": "another",
        "learning_rate": 0.02,
    }
    prints = {Workload().fingerprint}
    names = [field.name for field in fields(Workload) if changed.get(field.name, 3) is not None]
    for name in names:
        prints.add(replace(Workload(), **{name: changed.get(name, 3)}).fingerprint)
    assert len(prints) == 1 + len(names)


def test_overrides_change_the_named_fields_only() -> None:
    """Whole numbers, fractions and words are read as their field's type."""
    workload = parse_overrides(Workload(), "hidden=100, init=book,learning_rate=0.5")
    assert workload == replace(Workload(), hidden=100, init="book", learning_rate=0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hiddn=100", "write field=value with one of: model"),
        ("hidden", "no workload field in 'hidden'"),
        ("hidden=many", "it must be a whole number"),
        ("hidden=1.5", "it must be a whole number"),
        ("hidden=0", "it must be 1 or more"),
        ("batch_size=-1", "it must be 1 or more"),
        ("learning_rate=nan", "positive, finite"),
        ("learning_rate=-1", "positive, finite"),
        ("learning_rate=fast", "it must be a number"),
        ("init=ones", "choose one of: glorot, glorot_normal, book, zeros"),
        ("activation=gelu", "choose one of: tanh, sigmoid"),
        ("model=cnn", "choose one of: mlp, linear"),
        ("n_pool=0", "it must be 1 or more"),
        ("leak=1", "less than 1"),
        ("precision=float16", "choose one of: float32"),
        ("seed=-1", "0 or more"),
        ("data=abc", "no workload field"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_a_remedy(text: str, complaint: str) -> None:
    """The message names the field, the value and what would do."""
    with pytest.raises(WorkloadError, match=complaint):
        parse_overrides(Workload(), text)


def test_initial_weights_are_glorots() -> None:
    """Both matrices fill ±sqrt(6 / (fan_in + fan_out)), whose variance is 2 / (fan_in + fan_out); biases are zero."""
    params = initial_params(Workload())
    w1, b1, w2, b2 = params
    for matrix in (w1, w2):
        limit = np.sqrt(6 / sum(matrix.shape))
        assert 0.99 * limit < np.abs(matrix).max() <= limit
        # The variance of n uniform draws has a relative standard deviation of sqrt(0.8 / n): five of them.
        assert matrix.var() == pytest.approx(2 / sum(matrix.shape), rel=5 * np.sqrt(0.8 / matrix.size))
    assert not b1.any()
    assert not b2.any()
    assert {value.dtype for value in params} == {np.dtype(np.float32)}


def test_the_books_initialisation_leaves_the_second_matrix_zero() -> None:
    """``book`` differs from ``glorot`` in w2 and in nothing else."""
    book, glorot = initial_params(Workload(init="book")), initial_params(Workload())
    assert not book[2].any()
    np.testing.assert_array_equal(book[0], glorot[0])


def test_the_seed_decides_the_weights() -> None:
    """The same seed gives the same weights, another seed others."""
    same, again, other = (initial_params(Workload(seed=seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()


def test_step_flops_counts_the_five_products() -> None:
    """The default workload's step takes 959.4 million floating-point operations."""
    assert Workload().step_flops == 2 * (2 * 600 * 784 * 500 + 3 * 600 * 500 * 10)
