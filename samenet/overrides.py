"""Reads the text of ``--workload``."""

from __future__ import annotations

from dataclasses import fields, replace

from impls.workload import LINEAR_RATE, Workload, WorkloadError

CONVERTED = dict.fromkeys(("hidden", "n_pool", "batch_size", "seed"), int) | {"learning_rate": float, "leak": float}
NOT_SETTABLE = {"data", "inputs", "classes"}  # the data set decides them


def parse_overrides(workload: Workload, text: str) -> Workload:
    """Return ``workload`` with the fields replaced that ``text`` names, such as ``hidden=100,init=book``.

    ``model=linear`` implies the book's learning rate for it, unless ``text`` sets another.

    Raises:
        WorkloadError: the text is not of that form, or has an unknown field or an invalid value.
    """
    settable = [field.name for field in fields(Workload) if field.name not in NOT_SETTABLE]
    changes: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or name not in settable:
            raise WorkloadError(f"no workload field in {part!r}; write field=value with one of: {', '.join(settable)}")
        convert = CONVERTED.get(name, str)
        try:
            changes[name] = convert(value)
        except ValueError:
            expected = "a whole number" if convert is int else "a number"
            raise WorkloadError(f"{name} is {value!r}; it must be {expected}") from None
    if changes.get("model") == "linear":
        changes = {"learning_rate": LINEAR_RATE} | changes
    return replace(workload, **changes)  # type: ignore[arg-type]  # the values were converted field by field
