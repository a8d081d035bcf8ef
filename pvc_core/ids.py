# SPDX-License-Identifier: LGPL-3.0-or-later
"""Names and identifiers: which are allowed, and how new ones are made."""

from __future__ import annotations

import re
import secrets
import uuid as _uuid

from pvc_core.errors import Invalid

NAME_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def checked_name(value: str, what: str) -> str:
    """Return `value` if it may name an object (`what` says of which kind, for the message); raises Invalid.

    Letters, digits, dot, dash and underscore, beginning and ending with a letter or digit, at most 100 characters:
    such a name is safe as a store key, a file name, an image name and a path segment of a URL.
    """
    if not value:
        raise Invalid(f"the {what} name is empty", help="give it a name of letters, digits, '.', '-' and '_'")
    if len(value) > NAME_MAX:
        raise Invalid(f"the {what} name has {len(value)} characters", help=f"at most {NAME_MAX} are allowed")
    if not _NAME.fullmatch(value) or ".." in value:
        raise Invalid(
            f"{value!r} cannot be the name of a {what}",
            help="use letters, digits, '.', '-' and '_', begin and end with a letter or digit, no '..'",
        )
    return value


def checked_uuid(value: str) -> str:
    """Return `value` as a canonical lower-case UUID; raises Invalid."""
    try:
        return str(_uuid.UUID(value))
    except ValueError:
        raise Invalid(f"{value!r} is not a UUID", help="like 2b57194c-777e-54d9-9dee-6a6bada3c400") from None


def new_uuid() -> str:
    return str(_uuid.uuid4())


def new_task_id() -> str:
    """Eight hexadecimal digits, as PVC's clients know them."""
    return secrets.token_hex(4)


def new_request_id() -> str:
    """Names one attempted write, so that a later Conflict with oneself is recognised."""
    return secrets.token_hex(8)
