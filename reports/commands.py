"""The commands of ``python -m reports``: each reads saved runs, prints what it finds and returns its exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reports import assemble, ci, files, markdown, streams, terminal, verdicts
from reports.compare import ACROSS, compare
from reports.find import find_run
from reports.sentences import left_out
from samenet.assembly import read_unfinished
from samenet.errors import SettingsError
from samenet.gates import parse_gates
from samenet.machine.files import check_writable
from samenet.records import Quantity
from samenet.storage import Storage, read_storage, storage_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reports.document import Table
    from samenet.verdicts import Comparison

REGRESSION = 1
GATE = f"what fails: {', '.join(Quantity)}, each with =PERCENT for a tolerance of its own; default: %(default)s"


def stored(folder: Path) -> Storage:
    """Read the storage, and the journals of campaigns that have not ended."""
    return read_storage(folder, read_unfinished)


def run_build(options: argparse.Namespace) -> int:
    """Build the report and print its location."""
    storage = stored(options.storage)
    if options.format == "all":
        check_writable(options.out)
    report = assemble.assemble(storage, options.baseline)
    if options.format == "markdown":
        sys.stdout.write(markdown.markdown_report(report, pictures=False))
        return 0
    answer = (report.verdict, report.summary, *left_out(storage.rejected))
    write = partial(files.write, report)
    return write_and_say(write, options.out, "report", table=report.sections[0].main, lines=answer)


def write_and_say(write: Callable[[Path], Path], out: Path, what: str, *, table: Table, lines: Sequence[str]) -> int:
    """Write the files below ``out``, and print the answer even if the disk is full."""
    location = []
    try:
        location.append(f"{what}: {write(out).resolve().as_uri()}")
    except OSError as error:
        error.filename = error.filename or out  # the error of a full disk has none
        raise
    finally:
        say(table, f"The {what}", lines)
        sys.stdout.writelines(f"{line}\n" for line in location)  # whole: a terminal makes it a link
    return 0


def say(table: Table, where: str, lines: Sequence[str]) -> None:
    """Print a table, which ``where`` has in full, and ``lines``."""
    console = terminal.open_console(sys.stdout)
    terminal.show(table, console, where)
    for line in lines:
        terminal.say(line, console)


def run_history(options: argparse.Namespace) -> int:
    """Find the changes in every history, write them and print their location."""
    storage = stored(options.storage)
    if options.format == "all":
        check_writable(options.out)
    history = assemble.assemble_history(storage)
    if options.format == "markdown":
        sys.stdout.write(markdown.markdown_history(history, pictures=False))
        return 0
    say(history.changes, "The history", [])
    answer = (*history.notes, *left_out(storage.rejected))
    write = partial(files.write_history, history)
    return write_and_say(write, options.out, "history", table=history.levels, lines=answer)


def run_compare(options: argparse.Namespace) -> int:
    """Print the verdict on each case, and return whether one is worse."""
    ci.append_summary("", os.environ)
    tolerance = options.tolerance / 100
    gates = parse_gates(options.gate, tolerance)
    base, head = (find_run(text, options.storage) for text in (options.base, options.head))
    given = [storage_folder(text) for text in (options.base, options.head)]
    folders = [options.storage, *(folder for folder in given if folder.is_dir())]
    comparison = compare(base, head, folders, gates=gates, steady=tolerance, across=options.across)
    try:
        sys.stdout.write(as_format(comparison, options.format))
        sys.stdout.flush()
        # Standard output may be a file; GitHub reads workflow commands from either stream.
        sys.stderr.writelines(f"{line}\n" for line in ci.announce(comparison, os.environ))
    except (OSError, SettingsError) as error:
        if not comparison.regression:
            raise
        streams.complain(streams.sentence(error))
        streams.detach(sys.stdout)
    if comparison.regression:
        return REGRESSION
    if comparison.is_empty and not options.allow_empty:
        lacking = [quantity.words for quantity in comparison.unjudged] or [Quantity.STEADY.words]
        reason = f"no case has a verdict on its {' and its '.join(lacking)}"
        raise SettingsError(f"nothing was compared: {reason}; pass --allow-empty if that is intended")
    return 0


def as_format(comparison: Comparison, name: str) -> str:
    """Return the comparison in one of the formats that --format offers."""
    if name == "json":
        return json.dumps(verdicts.as_builtins(comparison), indent=2) + "\n"
    if name == "markdown":
        return verdicts.as_markdown(comparison)
    console = terminal.open_console(sys.stdout)
    table = replace(verdicts.table(comparison), notes=())
    lines = terminal.as_lines(table, console, "--format markdown")
    after = [terminal.wrap(line, console) for line in (comparison.summary, *comparison.notes)]
    return "\n".join([comparison.title, *lines, *after]) + "\n"


def positive(text: str) -> float:
    """Read an option that is an amount of something."""
    number = float(text)  # argparse reports what is not a number
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def run_name(text: str) -> str:
    """Read what names a saved run; an empty text would be the current folder."""
    if not text.removeprefix("file://"):
        raise argparse.ArgumentTypeError("it is empty; give the name or number of a saved run, a file or a folder")
    return text


def add_folder(parser: argparse.ArgumentParser, option: str, default: str, explanation: str) -> None:
    """Add an option that names a folder; an empty text means the default, as if the option were not given."""

    def read(text: str) -> Path:
        return storage_folder(text if text.removeprefix("file://") else default)

    explanation += "default: %(default)s"
    parser.add_argument(option, type=read, default=Path(default), metavar="DIR", help=explanation)


def build_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that builds a report."""
    parser = commands.add_parser("build", help="tables and pictures of saved runs: HTML, Markdown, CSV, LaTeX, SVG")
    parser.set_defaults(run=run_build)
    add = parser.add_argument
    add_folder(parser, "--out", "reports/out", "where to write; ")
    add("--baseline", metavar="CASE", help="what speedups are over; default: numpy-cpu, or else theano-cpu")
    add("--format", choices=["all", "markdown"], default="all", help="markdown: to stdout, and no files")
    add_folder(parser, "--storage", ".benchmarks", "folder of saved runs; ")


def history_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that finds changes."""
    parser = commands.add_parser("history", help="every case over time: where it changed, between which commits")
    parser.set_defaults(run=run_history)
    add = parser.add_argument
    add_folder(parser, "--out", "reports/out/history", "")
    add("--format", choices=["all", "markdown"], default="all", help="markdown: the table to stdout, and no files")
    add_folder(parser, "--storage", ".benchmarks", "folder of saved runs; ")


def compare_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that compares two runs."""
    parser = commands.add_parser("compare", help="two saved runs: which cases became slower, faster or wrong")
    parser.set_defaults(run=run_compare)
    add = parser.add_argument
    add(
        "base",
        type=run_name,
        metavar="BASE",
        help="a saved run: its name or number in the storage, a file, or a folder's newest",
    )
    add("head", type=run_name, metavar="HEAD", help="the run that may be worse")
    add("--tolerance", type=positive, default=2.0, metavar="PERCENT", help="change to let pass; default: %(default)g")
    add("--gate", default="steady", metavar="LIST", help=GATE)
    add("--across", action="append", default=[], choices=ACROSS, help="what differs on purpose; may be repeated")
    add("--format", choices=["text", "markdown", "json"], default="text", help="default: %(default)s")
    add("--allow-empty", action="store_true", help="exit with 0 where no case could be compared; default: with 2")
    add_folder(parser, "--storage", ".benchmarks", "folder of saved runs; ")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m reports", description="From saved runs to reports.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (build_parser, history_parser, compare_parser):
        add(commands)
    return parser.parse_args(arguments)
