"""The command line: ``python -m reports`` builds a report of saved runs, compares two, or finds changes in a history.

Exit codes: 0, all is well; 1, a case became worse; 2, the input cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from reports import build, changes, tables
from reports.ci import announce
from reports.compare import ACROSS, compare, find_run
from reports.load import StorageError, read_storage, storage_folder
from reports.markdown import markdown_table

if TYPE_CHECKING:
    from collections.abc import Sequence

REGRESSION, UNUSABLE = 1, 2


def complain(error: StorageError | str) -> int:
    """Say what is wrong with the input, and return the exit code for it."""
    Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
    return UNUSABLE


def positive(text: str) -> float:
    """Read an option that is an amount of something."""
    number = float(text)  # argparse complains of what is no number
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


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
            sys.stdout.write("\n".join(markdown_table(table)))
            return 0
        target = build.write_history(table, groups, found, options.out)
    except StorageError as error:
        return complain(error)
    except OSError as error:
        return complain(f"cannot write into {options.out}: {error.strerror}; give another folder with --out")
    say(table, [f"history: {target.resolve().as_uri()}"])
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Print what became of each case, and return whether one is worse."""
    try:
        paths = [find_run(text, options.storage) for text in (options.base, options.head)]
        given = [storage_folder(text) for text in (options.base, options.head)]
        folders = [options.storage, *(each for each in given if each.is_dir())]
        comparison = compare(paths[0], paths[1], folders, options.tolerance / 100, options.across)
    except StorageError as error:
        return complain(error)
    if options.format == "json":
        text = json.dumps(comparison.as_dict(), indent=2) + "\n"
    elif options.format == "markdown":
        text = comparison.as_markdown()
    else:
        text = "\n".join(
            [comparison.title, "", tables.as_text(comparison.table), comparison.summary, *comparison.notes]
        )
        text += "\n"
    sys.stdout.write(text)
    # Standard output may be a file; GitHub reads workflow commands from either stream.
    sys.stderr.writelines(f"{line}\n" for line in announce(comparison, os.environ))
    return REGRESSION if comparison.regression else 0


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="From saved runs to reports.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="tables and pictures of saved runs: HTML, Markdown, CSV, LaTeX, SVG")
    command.set_defaults(run=run_build)
    add = command.add_argument
    storage: dict[str, Any] = {"type": storage_folder, "default": Path(".benchmarks"), "metavar": "DIR"}
    add("--storage", **storage, help="saved runs; default: %(default)s")
    add("--out", type=Path, default=Path("reports/out"), metavar="DIR", help="where to write; default: %(default)s")
    add("--baseline", metavar="CASE", help="what speedups are over; default: theano-cpu, or else numpy-cpu")
    add("--format", choices=["all", "markdown"], default="all", help="markdown: to stdout, and no files")
    command = commands.add_parser("history", help="every case over time: where it changed, between which commits")
    command.set_defaults(run=run_history)
    add = command.add_argument
    add("--storage", **storage, help="saved runs; default: %(default)s")
    add("--out", type=Path, default=Path("reports/out/history"), metavar="DIR", help="default: %(default)s")
    add("--format", choices=["all", "markdown"], default="all", help="markdown: the table to stdout, and no files")
    command = commands.add_parser("compare", help="two saved runs: which cases became slower, faster or wrong")
    command.set_defaults(run=run_compare)
    add = command.add_argument
    add("base", metavar="BASE", help="a saved run: its name or number in the storage, a file, or a folder's newest")
    add("head", metavar="HEAD", help="the run that may be worse")
    add("--storage", **storage, help="saved runs, which also tell how runs differ; default: %(default)s")
    add("--tolerance", type=positive, default=2.0, metavar="PERCENT", help="change to let pass; default: %(default)g")
    add("--across", action="append", default=[], choices=ACROSS, help="what differs on purpose; may be repeated")
    add("--format", choices=["text", "markdown", "json"], default="text", help="default: %(default)s")
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
