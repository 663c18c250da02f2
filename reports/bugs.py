"""An error that samenet does not raise on purpose: a sentence that names the file with its traceback."""

from __future__ import annotations

import tempfile
import traceback


def sentence(error: BaseException) -> str:
    """Write the traceback into a file, and return the sentence that names it."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="samenet-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(text)
        where = file.name
    except OSError:
        where = text
    return f"this is a bug in samenet: {type(error).__name__}; please report it with the traceback: {where}"
