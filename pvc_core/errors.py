# SPDX-License-Identifier: LGPL-3.0-or-later
"""The closed set of errors. Each says what its catcher must do; the message is a sentence for an operator.

Drivers raise Retry, Refused, NotFound, Exists, Permanent. Conflict and StoreUnavailable are the store's,
Invalid is the schemas'. HTTP statuses are decided in pvc_api_falcon/errors.py and exit codes in pvc_cli/errors.py.
"""

from __future__ import annotations

from collections.abc import Mapping


class PvcError(Exception):
    """Base of everything PVC raises on purpose.

    `message` tells what was attempted, on what and why it failed; `help` what to do about it (may be empty).
    `code` is stable and meant for programs. Whoever raises one without a word is told of by that: a sentence that is
    empty would say that nothing is wrong.
    """

    code = "error"

    def __init__(self, message: str, *, help: str = "") -> None:
        message = message or f"it failed ({self.code}) without a word of why"
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return f"{self.message} ({self.help})" if self.help else self.message


class Invalid(PvcError):
    """The input itself is wrong, whatever the state of the cluster. `fields` maps a name to what is wrong with it."""

    code = "invalid"

    def __init__(self, message: str, *, help: str = "", fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message, help=help)
        self.fields = dict(fields or {})


class Refused(PvcError):
    """A rule forbids it as things stand. Nothing was changed."""

    code = "refused"


class NotFound(PvcError):
    """The thing named does not exist. Only said after really looking: "could not ask" is Retry or StoreUnavailable."""

    code = "not_found"


class Exists(PvcError):
    """Something of that name is there already and differs from what was asked for."""

    code = "exists"


class Retry(PvcError):
    """Not now. The caller asks again in `again_in_s` seconds."""

    code = "retry"

    def __init__(self, message: str, *, again_in_s: float = 5.0, help: str = "") -> None:
        super().__init__(message, help=help)
        self.again_in_s = again_in_s


class Permanent(PvcError):
    """Asking again will not help; a person must act."""

    code = "permanent"


class Conflict(PvcError):
    """Someone wrote before you: the version you read is no longer there. Read again, decide again."""

    code = "conflict"


class StoreUnavailable(PvcError):
    """The store gave no answer within the deadline.

    `maybe_written` is True when a write was sent and its outcome is unknown: read before acting.
    """

    code = "store_unavailable"

    def __init__(self, message: str, *, maybe_written: bool = False, help: str = "") -> None:
        super().__init__(message, help=help)
        self.maybe_written = maybe_written
