"""What ``pytest bench/`` needs, and one sentence that names all that is missing."""

from __future__ import annotations

from importlib.util import find_spec

# What is imported, and what pip installs for it. Frameworks, downloads, reports and GPUs have sentences of their own.
NEEDED = {
    "execnet": "execnet",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "pandas": "pandas",
    "pytest_benchmark": "pytest-benchmark",
    "rich": "rich",
    "scipy": "scipy",
    "threadpoolctl": "threadpoolctl",
}


def lacking() -> str:
    """Return which of them are not installed and the command that installs them, or ""."""
    missing = [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]
    if not missing:
        return ""
    are = "are" if len(missing) > 1 else "is"
    return f"{', '.join(missing)} {are} not installed; run: python -m pip install {' '.join(missing)}"
