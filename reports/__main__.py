"""The command line: ``python -m reports`` builds a report of saved runs, compares two, or finds changes in a history.

Exit codes: 0, no regression; 1, a case became worse; 2, the input or an output cannot be used, or nothing was compared;
70, a bug in samenet; 130, interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from reports import bugs, streams

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSABLE, BUG, INTERRUPTED = 2, os.EX_SOFTWARE, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    streams.prepare()
    try:
        code = run(arguments)
    except SystemExit as usage:  # argparse has printed the help, or what is wrong
        code = int(usage.code or 0)
    except ImportError as error:
        streams.complain(f"{error.__cause__ or error}; run: python -m pip install --group reports")  # pandas wraps it
        code = UNUSABLE
    except OSError as error:
        streams.complain(streams.sentence(error))
        code = UNUSABLE
    except KeyboardInterrupt:
        streams.complain("interrupted")
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001  # a build must not take a bug for a regression
        streams.complain(bugs.sentence(error))
        code = BUG
    streams.flush()
    return code


def run(arguments: Sequence[str] | None) -> int:
    """Run one sub-command; what it needs is imported here, where a library that is missing is no regression."""
    from reports import commands  # noqa: PLC0415
    from samenet.errors import SamenetError  # noqa: PLC0415

    try:
        options = commands.parse(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
    except SamenetError as error:
        streams.complain(streams.sentence(error))
        return UNUSABLE
    return code


if __name__ == "__main__":
    sys.exit(main())
