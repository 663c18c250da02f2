"""How large distributions are on the disk, with all that they require; a program in an interpreter of its own.

In a worker the lists of files would be a part of the memory that is measured.
"""

from __future__ import annotations

import contextlib
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

REQUIRED = re.compile(r"[\w.-]+(?!.*extra ?==)")  # the name in a requirement, unless it is an extra's


def size_on_disk(distributions: list[str]) -> int:
    """Return the bytes of the files of ``distributions``, of numpy, and of all that these require."""
    waiting, found, size = ["numpy", *distributions], set[str](), 0
    while waiting:
        name = re.sub("[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        with contextlib.suppress(PackageNotFoundError):  # it may be required on another platform alone
            package = distribution(name)
            paths = [Path(str(file.locate())) for file in package.files or ()]
            size += sum(path.stat().st_size for path in paths if path.is_file())
            waiting += [required[0] for line in package.requires or () if (required := REQUIRED.match(line))]
    return size


if __name__ == "__main__":
    print(size_on_disk(sys.argv[1:]))  # noqa: T201
