"""What comes in: one reader for parameters, wherever they stand (query string, form body, JSON body)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import falcon
import falcon.media
import msgspec
from marshmallow import EXCLUDE, Schema, ValidationError, fields

from pvc_api_falcon.errors import BadParameters, Unsupported
from pvc_core.errors import Invalid

FIELDS_MAX = 1000
MISSING = "Missing required parameter in the query string or the post body"
MULTIPART = "multipart/form-data"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

Values = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Given:
    """Parameters by place; every name has all the values it was given there."""

    query: Values = field(default_factory=dict)
    form: Values = field(default_factory=dict)
    json: Values = field(default_factory=dict)

    def filled(self) -> Given:
        """Without what is empty in the query: PVC 1.0's clients send each filter, also those nobody asked for."""
        kept = {name: [value for value in values if value != ""] for name, values in self.query.items()}
        return replace(self, query={name: values for name, values in kept.items() if values})

    def merged(self) -> Values:
        """By name. Raises BadParameters when one is given in two places with two values."""
        result: Values = {}
        for place in (self.query, self.form, self.json):
            for name, values in place.items():
                if name in result and not _same(result[name], values):
                    raise BadParameters({name: "given twice, with different values"})
                result[name] = values
        return result


def gather(query: bytes, content_type: str, body: bytes) -> Given:
    """Raises Invalid (not readable), Unsupported (a body of another kind)."""
    in_query = _pairs(query, "the query string")
    if not body:
        return Given(query=in_query)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM:
        return Given(query=in_query, form=_pairs(body, "the form in the body"))
    if kind == JSON:
        return Given(query=in_query, json=_json(body))
    if kind == MULTIPART:
        return Given(query=in_query, form=_parts(content_type, body))
    raise Unsupported(
        f"a body of type {kind or 'unknown'} is not understood here",
        help=f"send parameters in the query string, as {FORM} or as {JSON}",
    )


def load(schema: Schema, given: Given, *, free: bool = False) -> dict[str, Any]:
    """The parameters, checked and typed. With `free`, those the schema does not know are in there as they came.

    Raises BadParameters naming each that is wrong, missing, or an unknown key of a JSON body.
    """
    known = {one.data_key or name: one for name, one in schema.load_fields.items()}
    merged = given.merged()
    if not free:
        _refuse_unknown(given.json, known)
    wrong = {name: "is not valid UTF-8 text" for name, values in merged.items() if not all(map(_encodable, values))}
    if wrong or not all(map(_encodable, merged)):
        raise BadParameters(wrong or {"parameters": "a name is not valid UTF-8 text"})
    raw = {name: _value(name, known[name], values) for name, values in merged.items() if name in known and values}
    try:
        loaded: dict[str, Any] = schema.load(raw, unknown=EXCLUDE)
    except ValidationError as error:
        raise BadParameters({name: _sentence(found) for name, found in error.normalized_messages().items()}) from None
    if free:
        loaded |= {
            name: values[0] if len(values) == 1 else values for name, values in merged.items() if name not in known
        }
    return loaded


def _pairs(text: bytes, what: str) -> Values:
    try:
        # bytes that are no UTF-8 become what `load` refuses by name, instead of a text that nobody sent
        shown = text.decode("utf-8", "surrogateescape")
        pairs = parse_qsl(shown, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="surrogateescape")
    except ValueError:
        raise Invalid(f"{what} has more than {FIELDS_MAX} parameters") from None
    result: Values = {}
    for name, value in pairs:
        result.setdefault(name, []).append(value)
    return result


def _parts(content_type: str, body: bytes) -> Values:
    """A form as browsers with files, and `curl -F`, send it (RFC 7578)."""
    result: Values = {}
    reader = falcon.media.MultipartFormHandler()
    reader.parse_options.max_body_part_count = FIELDS_MAX
    try:
        for part in reader.deserialize(BytesIO(body), content_type, len(body)):
            if part.filename is not None:
                raise Unsupported("no file is taken here", help="send parameters only")
            value = part.stream.read().decode("utf-8", "surrogateescape")
            result.setdefault(str(part.name), []).append(value)
    except falcon.HTTPError as error:
        raise Invalid(f"the form in the body is broken: {error.description or error.title}") from None
    return result


def _json(body: bytes) -> Values:
    try:
        found = msgspec.json.decode(body)
        json.loads(body, object_pairs_hook=_each_once)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Invalid(f"the body is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid("the JSON body is no object", help='send parameters as an object, like {"state": "start"}')
    return {name: value if isinstance(value, list) else [value] for name, value in found.items() if value is not None}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One object of the body. msgspec lets the last of equal keys win (RFC 8259, 4, leaves that open); here none does.

    Raises BadParameters.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise BadParameters({name: "given twice, with different values"})
        found[name] = value
    return found


def _refuse_unknown(given: Values, known: Mapping[str, fields.Field]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        allowed = ", ".join(sorted(known)) or "none"
        raise BadParameters({name: "unknown parameter" for name in unknown}, help=f"parameters here: {allowed}")


def _value(name: str, field: fields.Field, values: list[Any]) -> Any:
    """The one value, or the list of them for a field that takes a list."""
    if getattr(field, "several", isinstance(field, fields.List)):
        return values
    if not _same(values[:1], values[1:] or values[:1]) or len({str(value) for value in values}) > 1:
        raise BadParameters({name: "given twice, with different values"})
    return values[0]


def _same(one: list[Any], other: list[Any]) -> bool:
    return [_plain(value) for value in one] == [_plain(value) for value in other]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encodable(value: Any) -> bool:
    """Whether it can be written down: half of a surrogate pair cannot."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sentence(found: Any) -> str:
    """marshmallow's messages about one field, which may be nested (a list's items), as one text."""
    if isinstance(found, dict):
        found = [text for inner in found.values() for text in ([_sentence(inner)])]
    texts = found if isinstance(found, list) else [found]
    return " ".join(dict.fromkeys(str(text) for text in texts))
