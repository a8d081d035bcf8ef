"""The OpenAPI 3.1 document, made of the routes and their schemas when it is asked for: it cannot say anything else than
they do. The page for readers is page.py's.

apispec would do the same for fields; the few kinds we have do not pay for a dependency of the daemon. A test holds both
equal.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from marshmallow import Schema, fields, validate

from pvc_api_falcon.errors import STATUSES
from pvc_api_falcon.fields import Names, Pairs, Several
from pvc_api_falcon.idempotency import HEADER as IDEMPOTENCY_KEY
from pvc_api_falcon.idempotency import KEY_MAX
from pvc_api_falcon.paging import FieldsIn, PartIn, is_list
from pvc_api_falcon.params import FORM
from pvc_api_falcon.preconditions import has_version
from pvc_api_falcon.roles import least_role
from pvc_api_falcon.route import BYTES, JSON, TEXT, Nothing, Route
from pvc_api_falcon.settings import BASE
from pvc_api_falcon.wire.common import Message, Started
from pvc_api_falcon.words import explained
from pvc_api_falcon.words_of_answers import described
from pvc_core.schema.fields import Size

NO_KEY: list[dict[str, list[str]]] = []
PATH_NAME = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^/]+$"}
FILE = {"schema": {"type": "string", "format": "binary"}}
EVENTS = "text/event-stream"
EVENT = {"schema": {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}}
ALWAYS = (400, 401, 403, 408, 413, 414, 429, 431, 500, 503)
WITH_OBJECT, WITH_CHANGE = (404,), (409, 412, 415)
ERROR = {
    "type": "object",
    "required": ["message", "code", "help", "request_id"],
    "properties": {
        "message": {"description": "One sentence, or one for each wrong parameter.", "type": ["string", "object"]},
        "code": {"type": "string", "description": "Stable, for programs."},
        "help": {"type": "string"},
        "request_id": {"type": "string"},
        "fields": {"type": "object"},
        "maybe_written": {"type": "boolean"},
    },
}
REF = "#/components/schemas/{name}"
ID = {"X-Request-Id": {"schema": {"type": "string"}, "description": "the log has it"}}
LATER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
PARTS = {
    "X-Total-Count": {"schema": {"type": "integer"}, "description": "with page: how many there are"},
    "Link": {"schema": {"type": "string"}, "description": "with page: where the other pages are (RFC 8288)"},
}


def document(routes: tuple[Route, ...], version: str) -> dict[str, Any]:
    bodies = Bodies(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, routes, bodies)
    return {
        "openapi": "3.1.0",
        "info": {"title": "PVC API", "version": version, "description": "PVC's API v1, with what is new on top."},
        "servers": [{"url": BASE}],
        "security": [{"key": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "session": {"type": "apiKey", "in": "cookie", "name": "pvc_session"},
            },
            "schemas": described({"Error": ERROR, **bodies.components}),
        },
    }


class Bodies:
    """What routes answer with, as JSON Schema of the types that make it."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._types = [_answers_with(route) for route in routes if route.content_type == JSON]
        self._schemas, self.components = msgspec.json.schema_components(self._types, ref_template=REF)

    def of(self, route: Route) -> dict[str, Any]:
        return self._schemas[self._types.index(_answers_with(route))]


def _answers_with(route: Route) -> Any:
    return Started if route.task else route.gives or Message


def operation(route: Route, routes: tuple[Route, ...], bodies: Bodies) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", route.path)
    schema = None if route.takes is None else _explained(route, json_schema(route.takes()))
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": explained(route, name, PATH_NAME)} for name in names
    ]
    found: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.help,
        "tags": [route.path.split("/")[1] or "cluster"],
        "description": _role(route),
        "parameters": parameters,
        "responses": responses(route, names, bodies, part=is_list(route, routes)),
    }
    if route.open:
        found["security"] = NO_KEY
    if schema and (route.method == "GET" or route.upload):
        parameters += in_query(schema)
    elif schema and schema["properties"]:
        found["requestBody"] = {
            "required": bool(schema["required"]),
            "content": {JSON: {"schema": schema}, FORM: {"schema": schema}},
        }
    if route.upload:
        found["requestBody"] = {"required": True, "content": {BYTES: FILE}}
    if route.method == "GET" and route.takes is not None and not route.open:
        parameters += in_query(_explained(route, json_schema(PartIn() if is_list(route, routes) else FieldsIn())))
    parameters += _headers(route)
    return found


def operation_id(route: Route) -> str:
    """get_vm_vm_state for GET /vm/{vm}/state."""
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path)])


def _role(route: Route) -> str:
    least = least_role(route)
    return f"Needs role {least}{' or more' if least != 'admin' else ''}." if least else "Needs no key."


def _headers(route: Route) -> list[dict[str, Any]]:
    found = []
    if route.method == "POST" and not route.upload and not route.open:
        key = {"type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": r"^[!-~]+$"}
        found.append(_header(route, IDEMPOTENCY_KEY, key))
    if route.method != "GET" and has_version(route):
        found.append(_header(route, "If-Match", {"type": "string"}))
    return found


def _header(route: Route, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": explained(route, name, schema)}


def _explained(route: Route, schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "properties": {name: explained(route, name, one) for name, one in schema["properties"].items()}}


def responses(route: Route, names: list[str], bodies: Bodies, *, part: bool) -> dict[str, Any]:
    tells = bool(names) or route.takes not in (None, Nothing)  # a parameter may name what is not there, too
    codes = {*ALWAYS, *(WITH_OBJECT if tells else ()), *(WITH_CHANGE if route.method != "GET" else ())}
    codes |= {501} if route.free else set()
    codes |= {426} if route.socket else set()
    found = {"202" if route.task else "101" if route.socket else "200": success(route, bodies, part=part)}
    found |= {str(code): _error(code) for code in sorted(codes)}
    if route.path == "/status/primary_node":
        found["204"] = {"description": "There is none.", "headers": ID}
    if route.path == "/health":
        either = [bodies.of(route), {"$ref": REF.format(name="Error")}]
        found["503"]["content"] = {JSON: {"schema": {"anyOf": either}}}
    return found


def _error(code: int) -> dict[str, Any]:
    headers = ID | (LATER if code in (429, 503) else {})
    content = {JSON: {"schema": {"$ref": REF.format(name="Error")}}}
    return {"description": STATUSES[code], "headers": headers, "content": content}


def success(route: Route, bodies: Bodies, *, part: bool) -> dict[str, Any]:
    headers = dict(ID)
    if route.socket:
        return {"description": "The websocket is open.", "headers": headers}
    if route.task:
        headers["Location"] = {"schema": {"type": "string"}, "description": "where the task is shown"}
    if part:
        headers |= PARTS
    if route.tells_version or (route.looks and has_version(route)):
        headers["ETag"] = {"schema": {"type": "string"}, "description": "for If-Match of a change"}
    words = "A task does it." if route.task else "How it is." if route.method == "GET" else "Done."
    return {"description": words, "headers": headers, "content": _content(route, bodies)}


def _content(route: Route, bodies: Bodies) -> dict[str, Any]:
    if route.content_type != JSON:
        return {route.content_type: EVENT if route.content_type == EVENTS else FILE}
    content: dict[str, Any] = {JSON: {"schema": bodies.of(route)}}
    if route.takes is not None and "follow" in route.takes().fields:
        content[TEXT] = FILE
    return content


def in_query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema["required"]
    return [
        {"name": name, "in": "query", "required": name in required, "schema": one}
        for name, one in schema["properties"].items()
    ]


def json_schema(schema: Schema) -> dict[str, Any]:
    """Of the parameters of one route. JSON Schema 2020-12."""
    found = {field.data_key or name: field for name, field in schema.load_fields.items()}
    return {
        "type": "object",
        "properties": {name: field_schema(field) for name, field in found.items()},
        "required": [name for name, field in found.items() if field.required],
        "additionalProperties": False,
    }


def field_schema(field: fields.Field) -> dict[str, Any]:
    found: dict[str, Any] = _kind(field)
    for rule in field.validators:
        if isinstance(rule, validate.OneOf):
            found["enum"] = [str(choice) for choice in rule.choices]
        elif isinstance(rule, validate.Range) and found.get("type") in ("integer", "number"):
            limits = {"minimum": rule.min, "maximum": rule.max}
            found |= {name: limit for name, limit in limits.items() if limit is not None}
        elif isinstance(rule, validate.Length):
            limits = {"minLength": rule.min, "maxLength": rule.max}
            found |= {name: limit for name, limit in limits.items() if limit is not None}
    if words := field.metadata.get("description"):
        found["description"] = words
    return found


def _kind(field: fields.Field) -> dict[str, Any]:
    match field:
        case fields.Boolean():
            return {"type": "boolean"}
        case fields.Integer():
            return {"type": "integer"}
        case fields.Float():
            return {"type": "number"}
        case Pairs():
            return {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$"}}
        case Names() | Several():
            return {"type": "array", "items": {"type": "string", "maxLength": 1000}}
        case Size():
            return {"type": "string", "pattern": "^[1-9][0-9]{0,5}[KMGT]?$", "description": "like 20G, or bytes"}
        case fields.String():
            return {"type": "string"}
    return {"type": ["object", "string"]}
