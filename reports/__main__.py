"""The command line: ``python -m reports build`` writes a report of saved runs; exit code 2 means unusable input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from reports import build, tables
from reports.load import StorageError, read_storage

UNUSABLE = 2


def folder(text: str) -> Path:
    """Read a folder as pytest-benchmark writes it: a path, or file://path."""
    return Path(text.removeprefix("file://"))


def run_build(options: argparse.Namespace) -> int:
    """Build the report and say where it lies."""
    try:
        report = build.assemble(read_storage(options.storage), options.baseline)
        if options.format == "markdown":
            sys.stdout.write(build.markdown(report, pictures=False))
            return 0
        target = build.write(report, options.out)
    except StorageError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
        return UNUSABLE
    except OSError as error:
        message = f"cannot write into {options.out}: {error.strerror}; give another folder with --out"
        Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False)
        return UNUSABLE
    console = Console(soft_wrap=True, width=1000)  # a line that a terminal wraps is better than a cut figure
    main = report.sections[0].tables[0]
    if console.is_terminal:
        console.print(tables.as_rich(main, drop=tables.DETAIL))
    else:
        console.print(tables.as_text(main), markup=False, highlight=False)
    for line in (*main.notes, report.verdict, report.summary, f"report: {target.resolve().as_uri()}"):
        console.print(line, markup=False, highlight=False)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="From saved runs to reports.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="tables and pictures of saved runs: HTML, Markdown, CSV, LaTeX, SVG")
    command.set_defaults(run=run_build)
    add = command.add_argument
    add("--storage", type=folder, default=Path(".benchmarks"), metavar="DIR", help="saved runs; default: %(default)s")
    add("--out", type=Path, default=Path("reports/out"), metavar="DIR", help="where to write; default: %(default)s")
    add("--baseline", metavar="CASE", help="what speedups are over; default: theano-cpu, or else numpy-cpu")
    add("--format", choices=["all", "markdown"], default="all", help="markdown: to stdout, and no files")
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
