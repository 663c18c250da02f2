"""What ``pytest bench/`` needs, and one sentence that names all that is missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from impls.worker import reason

# What is imported, and what pip installs for it. Frameworks, downloads, reports and GPUs have sentences of their own.
NEEDED = {
    "execnet": "execnet",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "packaging": "packaging",
    "pandas": "pandas",
    "pytest_benchmark": "pytest-benchmark",
    "rich": "rich",
    "scipy": "scipy",
    "threadpoolctl": "threadpoolctl",
}


def lacking() -> str:
    """Return which of them are not installed, or else cannot be imported, and the command that helps, or ""."""
    missing = [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]
    if missing:
        are = "are" if len(missing) > 1 else "is"
        return f"{', '.join(missing)} {are} not installed; run: python -m pip install {' '.join(missing)}"
    for module, distribution in NEEDED.items():
        try:
            import_module(module)
        except Exception as error:  # noqa: BLE001  # one that was built for another numpy raises anything
            again = f"python -m pip install --force-reinstall {distribution}"
            return f"{distribution} cannot be imported: {reason(error)}; run: {again}"
    return ""
