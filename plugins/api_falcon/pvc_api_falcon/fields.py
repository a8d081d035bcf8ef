"""The kinds of parameters the wire has, as marshmallow fields: text outside, typed values inside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from marshmallow import ValidationError, fields, validate

from pvc_api_falcon.params import MISSING
from pvc_core.schema.fields import Size

NAME_MAX = 1_000
LINE_MAX = 10_000
SIZE_MAX_BYTES = 2**62
LINES_MAX = 100_000
_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_TRUE = fields.Boolean.truthy | {"enable", "enabled"}


def text(*, required: bool = False, longest: int = NAME_MAX, wrong: str = MISSING, **more: Any) -> fields.String:
    """Any text; a required one is not empty."""
    limits: list[Any] = [validate.Length(max=longest, error=f"longer than {longest} characters")]
    if required:
        limits.append(validate.Length(min=1, error=wrong))
    return fields.String(
        required=required, validate=limits, error_messages={"required": wrong, "invalid": "is no text"}, **more
    )


def long_text(*, required: bool = False, **more: Any) -> fields.String:
    """A definition: as long as a body may be."""
    return text(required=required, longest=2**31, **more)


def choice(name: str, values: Sequence[str], *, required: bool = False, **more: Any) -> fields.String:
    """One of `values`; what is wrong is told in the words clients of PVC know."""
    wrong = f"A valid {name} must be specified"
    return fields.String(
        required=required,
        validate=validate.OneOf(values, error=wrong),
        error_messages={"required": wrong, "invalid": wrong},
        metadata={"choices": list(values)},
        **more,
    )


def flag(default: bool | None = False) -> fields.Boolean:
    """true, yes, on, 1 and so on, in any usual case."""
    return fields.Boolean(load_default=default, truthy=_TRUE, error_messages={"invalid": "must be true or false"})


class Whole(fields.Integer):
    """Plain digits: 1.5 is not cut to 1, and "1_0" is no 10, though Python's int() takes both."""

    def _validated(self, value: Any) -> int:
        cut = isinstance(value, float) and not value.is_integer()
        if cut or (isinstance(value, str) and not _WHOLE.fullmatch(value)):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


def whole(low: int, high: int, *, required: bool = False, **more: Any) -> fields.Integer:
    limits = f"must be a whole number between {low} and {high}"
    return Whole(
        required=required, validate=validate.Range(low, high, error=limits),
        error_messages={"required": MISSING, "invalid": limits, "too_large": limits}, **more,
    )  # fmt: skip


def lines(least: int = 1) -> fields.Integer:
    return whole(least, LINES_MAX, load_default=10)


def size(*, required: bool = False) -> Size:
    """Bytes, from "20G" or a number of bytes."""
    allowed = validate.Range(1, SIZE_MAX_BYTES, error="must be greater than nothing and less than 4E")
    return Size(
        required=required, validate=allowed, error_messages={"required": MISSING, "invalid": "is no size, like 20G"}
    )


def sure() -> fields.String:
    """The string that confirms what cannot be undone."""
    wrong = "A confirmation string 'yes-i-really-mean-it' must be specified"
    return fields.String(
        required=True,
        data_key="yes-i-really-mean-it",
        validate=validate.OneOf(["yes-i-really-mean-it", "yes", "true", "True"], error=wrong),
        error_messages={"required": wrong},
    )


class Several(fields.Field):
    """A parameter that may be given several times; subclasses make one value of the texts."""

    several = True

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) and len(text) <= LINE_MAX for text in texts):
            raise ValidationError(f"must be texts of at most {LINE_MAX} characters")
        return self.made(texts)

    def made(self, texts: list[str]) -> Any:
        return texts


class Names(Several):
    """A list of names: repeated, or several in one value with commas between."""

    def made(self, texts: list[str]) -> list[str]:
        return [name.strip() for text in texts for name in text.split(",") if name.strip()]


class Pairs(Several):
    """option=KEY=VALUE, repeated: a dict."""

    def made(self, texts: list[str]) -> dict[str, str]:
        pairs = dict(text.partition("=")[::2] for text in texts)
        if len(pairs) < len(texts) or "" in pairs or not all("=" in text for text in texts):
            raise ValidationError("give each option once, as KEY=VALUE")
        return pairs
