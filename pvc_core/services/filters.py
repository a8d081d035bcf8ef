"""Name filters: regular expressions from outside, made harmless.

Matched by RE2 (https://github.com/google/re2/wiki/Syntax), whose time grows with the length of the text only:
Python's own
`re` cannot be stopped once it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import _parser  # type: ignore[attr-defined]  # the only parser of its own syntax that Python has

import re2

from pvc_core.errors import Invalid

LIMIT_MAX = 256

_options = re2.Options()
_options.log_errors = False
_options.max_mem = 8 << 20


def name_filter(limit: str | None, what: str = "limit") -> Callable[[str], bool]:
    """A test for names. Anchored on both ends, with `.*` added at an end that has no `^` or `$`, as PVC always did.

    Raises Invalid for what is no regular expression, is longer than 256 characters, or nests repetitions.
    """
    if not limit:
        return lambda _: True
    if len(limit) > LIMIT_MAX:
        raise _invalid(what, f"has {len(limit)} characters", f"at most {LIMIT_MAX} are allowed")
    try:
        parsed = _parser.parse(limit)
    except (re.error, OverflowError, RecursionError) as error:
        raise _invalid(
            what, f"{limit!r} is no regular expression ({error})", "to match a name literally, just give the name"
        ) from None
    if _nests(parsed, inside=False):
        raise _invalid(what, f"{limit!r} repeats a repetition", "write it without a repetition inside a repeated group")
    text = ("" if limit.startswith("^") else ".*") + f"(?:{limit})" + ("" if limit.endswith("$") else ".*")
    try:
        pattern = re2.compile(text, _options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise _invalid(
            what, f"{limit!r} cannot be used as a filter ({reason})", "look-around and back references are not allowed"
        ) from None
    return lambda name: pattern.fullmatch(name) is not None


def _nests(parsed: object, *, inside: bool) -> bool:
    if isinstance(parsed, _parser.SubPattern):
        return any(_nests(item, inside=inside) for item in parsed.data)
    if isinstance(parsed, (list, tuple)):
        repeats = (
            len(parsed) == 2
            and str(parsed[0]) in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
            and parsed[1][1] > 1
        )
        if repeats and inside:
            return True
        return any(_nests(item, inside=inside or repeats) for item in parsed)
    return False


def _invalid(what: str, found: str, help: str) -> Invalid:
    return Invalid(f"the filter {found}", help=help, fields={what: found})
