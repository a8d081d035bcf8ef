# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a marshmallow field allows, in words, so that every schema (a stranger's too) explains itself the same way.

A field says it best itself with metadata={"allowed": "an address with its prefix, like 10.0.0.11/24"}; the rest is read
off its type and marshmallow's own validators.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from marshmallow import Schema, fields, validate

_TYPES: tuple[tuple[type[fields.Field], str], ...] = (
    (fields.Boolean, "true or false"),
    (fields.Integer, "a whole number"),
    (fields.Number, "a number"),
    (fields.List, "a list"),
    (fields.Nested, "a mapping"),
    (fields.Mapping, "a mapping"),
    (fields.String, "text"),
)

_TOLD_IN_WORDS = (validate.Range, validate.Length, validate.OneOf)


def allowed(field: fields.Field) -> str:
    """A noun phrase: "a whole number between 576 and 9216"."""
    told = field.metadata.get("allowed")
    if told:
        return str(told)
    for validator in field.validators:
        if isinstance(validator, validate.OneOf):
            return "one of " + ", ".join(json.dumps(choice, default=str) for choice in validator.choices)
    noun = next((words for kind, words in _TYPES if isinstance(field, kind)), f"a {type(field).__name__}")
    if isinstance(field, fields.Nested):
        return f"{noun} with the keys {', '.join(keys_of(field.schema))}"
    return " ".join([noun, *(_limits(field))])


def is_builtin(field: fields.Field, message: str) -> bool:
    """Whether `message` is marshmallow's own about this field, so that `allowed` says it better."""
    if message in field.error_messages.values():
        return True
    if field.metadata.get("allowed"):
        return all(isinstance(validator, validate.Validator) for validator in field.validators)
    return bool(field.validators) and all(
        isinstance(validator, _TOLD_IN_WORDS) and validator.error in (None, getattr(validator, "default_message", None))
        for validator in field.validators
    )


def keys_of(schema: Schema) -> list[str]:
    """The keys a mapping may have that this schema checks."""
    return [field.data_key or name for name, field in schema.load_fields.items()]


def fields_by_key(schema: Schema) -> Mapping[str, fields.Field]:
    return {field.data_key or name: field for name, field in schema.load_fields.items()}


def has_secrets(schema: Schema) -> bool:
    """Whether anything in what this schema checks must not be shown (metadata={"secret": True}), at any depth."""
    return any(_is_secret(field) for field in schema.load_fields.values())


def _is_secret(field: fields.Field) -> bool:
    if field.metadata.get("secret"):
        return True
    if isinstance(field, fields.List):
        return _is_secret(field.inner)
    if isinstance(field, fields.Mapping):
        return bool(field.value_field and _is_secret(field.value_field))
    return isinstance(field, fields.Nested) and has_secrets(field.schema)


def _limits(field: fields.Field) -> list[str]:
    return [words for validator in field.validators if (words := _limit(validator))]


def _limit(validator: object) -> str:
    if isinstance(validator, validate.Range):
        return _between(validator.min, validator.max, "")
    if isinstance(validator, validate.Length):
        if validator.equal is not None:
            return f"of length {validator.equal}"
        return _between(validator.min, validator.max, "of length ")
    return ""


def _between(low: object, high: object, what: str) -> str:
    if low is not None and high is not None:
        return f"{what}between {low} and {high}"
    if low is not None:
        return f"{what}at least {low}" if what else f"not below {low}"
    return f"{what}at most {high}" if high is not None else ""
