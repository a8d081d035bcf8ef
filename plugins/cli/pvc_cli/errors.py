"""What can go wrong for the command line, in words, and the one function that decides the exit code.

Errors of the API arrive as ApiError with its stable `code`; the API itself decides HTTP statuses.
"""

from __future__ import annotations

from enum import IntEnum

import click


class ExitCode(IntEnum):
    """What the shell sees. 1 is "no": refused, failed, or `node is-primary` answering no."""

    DONE = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    NO_ANSWER = 4
    NOT_ALLOWED = 5
    CONFLICT = 6
    INTERRUPTED = 130


EXIT_CODES_HELP = """\b
Exit codes:
  0    done
  1    refused or failed (also: "no" from node is-primary)
  2    the command line itself is wrong
  3    what was named does not exist
  4    no usable answer from the API; a change may or may not have happened
  5    the API key is missing, wrong or not allowed to do this
  6    somebody else changed it meanwhile; nothing was overwritten
  130  interrupted
"""


class CliError(Exception):
    """Base of what the command line raises on purpose: a sentence, and what helps (may be empty)."""

    exit_code = ExitCode.NO

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help


class NoAnswer(CliError):
    """The API could not be asked, or gave no answer that can be understood. `sent`: the request may have arrived."""

    exit_code = ExitCode.NO_ANSWER

    def __init__(self, message: str, *, help: str = "", sent: bool = False) -> None:
        super().__init__(message, help=help)
        self.sent = sent


class Changed(CliError):
    """The object is not what it was when we read it."""

    exit_code = ExitCode.CONFLICT


class NotThere(CliError):
    """The client looked and it is not there (for example a disk in a VM's definition)."""

    exit_code = ExitCode.NOT_FOUND


class TaskFailed(CliError):
    """A task of the cluster ended in failure; the message is the task's last sentence."""


class ApiError(CliError):
    """The API said no. `status` is the HTTP status, `code` the API's stable word for it (may be empty)."""

    def __init__(self, status: int, message: str, *, code: str = "", help: str = "", request_id: str = "") -> None:
        super().__init__(message, help=help)
        self.status = status
        self.code = code
        self.request_id = request_id

    @property
    def exit_code(self) -> ExitCode:  # type: ignore[override]  # an attribute of the others
        if self.code in BY_CODE:
            return BY_CODE[self.code]
        return BY_STATUS.get(self.status, ExitCode.NO_ANSWER if self.status >= 500 else ExitCode.NO)


UNKNOWN = "no_such_path"
BY_CODE = {"not_found": ExitCode.NOT_FOUND, "conflict": ExitCode.CONFLICT, UNKNOWN: ExitCode.NO}
"""Asked first: the wire answers 400 to a change of something that does not exist."""

BY_STATUS = {
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    501: ExitCode.NO,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for whatever ended a run."""
    if isinstance(error, CliError):
        return error.exit_code
    if isinstance(error, click.UsageError):
        return ExitCode.USAGE
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return ExitCode.INTERRUPTED
    return ExitCode.NO
