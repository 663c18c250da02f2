"""Every error that samenet raises on purpose; each message is a fact and then a remedy.

* SamenetError
  + SettingsError: an option or an argument is wrong
    · DataError: the images cannot be used
    · RevisionError: a git revision cannot be used
  + NoInterpreterError: no interpreter here can import a framework
  + BusyError: another campaign is measuring on this machine
  + WorkerError: a worker process could not do its work
  + StorageError: a saved run, or a folder of them, cannot be used
  + JournalError: the journal of a campaign cannot be read or written

Anything else that escapes is a bug in samenet. ``impls.workload.WorkloadError`` is a ``ValueError``, since ``impls``
also runs where this package is not installed; the protocols turn it into a SettingsError.
"""

from __future__ import annotations

import os


class SamenetError(Exception):
    """The base of all errors that samenet raises on purpose."""

    def __init__(self, message: str) -> None:
        """Take a message; of a path in it that is not UTF-8, what can be written into a file."""
        super().__init__(message.encode(errors="replace").decode())


class SettingsError(SamenetError):
    """An option or an argument is wrong; the message says what would be right."""


class DataError(SettingsError):
    """The data cannot be used; the message names the file."""


class RevisionError(SettingsError):
    """A git revision is not available, or is not one of samenet's."""


class NoInterpreterError(SamenetError):
    """No interpreter here can import the framework; the message says how to get one."""


class BusyError(SamenetError):
    """Another campaign is running on this machine; commands end with ``EXIT_CODE``, after which to try again later."""

    EXIT_CODE = os.EX_TEMPFAIL


class WorkerError(SamenetError):
    """A worker could not do its work; the message says which one and why."""


class StorageError(SamenetError):
    """A saved run cannot be used, or a folder has none that can be."""


class JournalError(SamenetError):
    """A campaign's journal cannot be read or written."""
