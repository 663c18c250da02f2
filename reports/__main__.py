"""The command line: ``python -m reports build`` and ``history`` tell of saved runs; exit code 2: unusable input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reports import build, changes, tables
from reports.load import StorageError, read_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSABLE = 2


def complain(error: StorageError | str) -> int:
    """Say what is wrong with the input, and return the exit code for it."""
    Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
    return UNUSABLE


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
        return complain(error)
    except OSError as error:
        return complain(f"cannot write into {options.out}: {error.strerror}; give another folder with --out")
    main = report.sections[0].tables[0]
    say(main, (report.verdict, report.summary, f"report: {target.resolve().as_uri()}"), tables.DETAIL)
    return 0


def say(table: tables.Table, lines: Sequence[str], detail: Sequence[str] = ()) -> None:
    """Print a table, its notes and ``lines``: in colours and without ``detail`` on a terminal, plain when piped."""
    console = Console(soft_wrap=True, width=1000)  # a line that a terminal wraps is better than a cut figure
    if console.is_terminal:
        console.print(tables.as_rich(table, drop=detail))
    else:
        console.print(tables.as_text(table), markup=False, highlight=False)
    for line in (*table.notes, *lines):
        console.print(line, markup=False, highlight=False)


def run_history(options: argparse.Namespace) -> int:
    """Find the changes in every history, write them and say where they lie."""
    try:
        storage = read_storage(options.storage)
        groups = [group for group in storage.groups if group.conditions.protocol != "scaling"]
        found = changes.of_groups(groups)
        table = changes.table(found, groups)
        if options.format == "markdown":
            sys.stdout.write("\n".join(build.markdown_table(table)))
            return 0
        target = build.write_history(table, groups, found, options.out)
    except StorageError as error:
        return complain(error)
    except OSError as error:
        return complain(f"cannot write into {options.out}: {error.strerror}; give another folder with --out")
    say(table, [f"history: {target.resolve().as_uri()}"])
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
    command = commands.add_parser("history", help="every case over time: where it changed, between which commits")
    command.set_defaults(run=run_history)
    add = command.add_argument
    add("--storage", type=folder, default=Path(".benchmarks"), metavar="DIR", help="saved runs; default: %(default)s")
    add("--out", type=Path, default=Path("reports/out/history"), metavar="DIR", help="default: %(default)s")
    add("--format", choices=["all", "markdown"], default="all", help="markdown: the table to stdout, and no files")
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
