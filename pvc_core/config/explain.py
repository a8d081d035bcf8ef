"""What marshmallow found wrong, as faults an operator can act on: where, what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marshmallow import Schema, ValidationError, fields

from pvc_core.config.document import Document
from pvc_core.config.faults import Fault, show
from pvc_core.schema.allowed import allowed, fields_by_key, has_secrets, is_builtin

Keys = tuple[str | int, ...]


def load_part(schema: Schema, data: Any, document: Document, path: Keys = ()) -> tuple[dict[str, Any], list[Fault]]:
    """`data`, which stands at `path` of the document, loaded by `schema`; what is valid of it, and the faults."""
    try:
        return dict(schema.load(data)), []
    except ValidationError as error:
        valid = error.valid_data if isinstance(error.valid_data, dict) else {}
        explained = _Explained(document, hide=has_secrets(schema))
        return valid, list(explained.mapping(error.normalized_messages(), schema, data, path))


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """'did you mean "upstream"? ' or nothing."""
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"? ' if close else ""


class _Explained:
    """Walks marshmallow's tree of messages beside the schema and the data. `hide`: the section holds secrets."""

    def __init__(self, document: Document, *, hide: bool) -> None:
        self.document = document
        self.hide = hide

    def mapping(self, errors: Mapping[Any, Any], schema: Schema, data: Any, path: Keys) -> Iterator[Fault]:
        known = fields_by_key(schema)
        for key, error in errors.items():
            field = known.get(key)
            if key == "_schema":
                yield from self._whole(error, schema, data, path)
            elif field is None and error == [schema.error_messages["unknown"]]:
                yield self._unknown(path, str(key), list(known))
            else:
                value = data.get(key) if isinstance(data, Mapping) else None
                yield from self._field(error, field, value, (*path, key))

    def _whole(self, messages: Any, schema: Schema, data: Any, path: Keys) -> Iterator[Fault]:
        """A message about a mapping as a whole: it is none, or a rule of the schema over several keys."""
        for message in _texts(messages):
            if message == schema.error_messages["type"]:
                message = "a mapping is allowed, with the keys " + ", ".join(fields_by_key(schema))
            yield self._fault(path, f"found {show(data)}", message)

    def _unknown(self, path: Keys, key: str, known: list[str]) -> Fault:
        there = f"allowed here: {', '.join(known)}" if known else "nothing may be set here"
        return self._fault((*path, key), "unknown key", did_you_mean(key, known) + there)

    def _field(self, error: Any, field: fields.Field | None, value: Any, path: Keys) -> Iterator[Fault]:
        if not isinstance(error, Mapping):
            yield from self._leaf(error, field, value, path)
        elif isinstance(field, fields.Nested):
            yield from self.mapping(error, field.schema, value, path)
        elif isinstance(field, fields.List):
            for index, inner in error.items():
                entry = value[index] if isinstance(value, list) and isinstance(index, int) else None
                yield from self._field(inner, field.inner, entry, (*path, index))
        elif isinstance(field, fields.Mapping):
            for key, inner in error.items():
                yield from self._entry(inner, field, key, value, path)
        else:
            for inner in error.values():
                yield from self._field(inner, field, value, path)

    def _entry(self, error: Any, field: fields.Mapping, key: Any, value: Any, path: Keys) -> Iterator[Fault]:
        """One key of a free mapping: marshmallow tells apart what is wrong with the key and with its value."""
        if not isinstance(error, Mapping):
            yield from self._leaf(error, field, value, (*path, key))
            return
        if "key" in error:
            yield from self._leaf(error["key"], field.key_field, key, (*path, key))
        if "value" in error:
            entry = value.get(key) if isinstance(value, Mapping) else None
            yield from self._field(error["value"], field.value_field, entry, (*path, key))

    def _leaf(self, messages: Any, field: fields.Field | None, value: Any, path: Keys) -> Iterator[Fault]:
        for message in dict.fromkeys(self._words(field, text) for text in _texts(messages)):
            missing = field is not None and field.error_messages["required"] in _texts(messages)
            secret = self.hide and field is not None and bool(field.metadata.get("secret"))
            found = "nothing" if missing else "something (not shown: it is a secret)" if secret else show(value)
            yield self._fault(path, f"found {found}", message)

    def _words(self, field: fields.Field | None, message: str) -> str:
        if field is None:
            return message
        if message == field.error_messages["required"]:
            return f"this key must be here: {allowed(field)}"
        return f"{allowed(field)} is allowed" if is_builtin(field, message) else message

    def _fault(self, path: Keys, found: str, words: str) -> Fault:
        return self.document.fault(path, found, words, hide=self.hide)


def _texts(messages: Any) -> list[str]:
    return [str(message) for message in messages] if isinstance(messages, list) else [str(messages)]
