"""Whether an answer is what the OpenAPI document says of it, to the last key: nothing missing, nothing untold."""

from __future__ import annotations

from typing import Any

import httpx2
import jsonschema_rs

from pvc_api_falcon.route import Route


def wrong_with(document: dict[str, Any], route: Route, answer: httpx2.Response) -> list[str]:
    """Sentences; none when all is as the document says."""
    where = f"{route.method} {route.path} answered {answer.status_code}"
    told = document["paths"][route.path][route.method.lower()]["responses"].get(str(answer.status_code))
    if told is None:
        return [f"{where}, which the document does not know: {answer.text[:300]}"]
    headers = told.get("headers", {})
    always = [name for name in ("X-Request-Id", "ETag", "Location") if name in headers]
    found = [f"{where} without {name}" for name in always if name not in answer.headers]
    found += [f"{where} with an ETag nobody told of"] if "ETag" in answer.headers and "ETag" not in headers else []
    if "content" not in told:
        return found + ([f"{where} with a body"] if answer.content else [])
    kind = answer.headers["Content-Type"]
    if kind not in told["content"]:
        return [*found, f"{where} as {kind}"]
    if kind != "application/json":
        return found
    schema = closed({**told["content"][kind]["schema"], "components": document["components"]})
    errors = jsonschema_rs.Draft202012Validator(schema).iter_errors(answer.json())
    return found + [f"{where}: {'/'.join(map(str, one.instance_path))}: {one.message[:300]}" for one in errors]


def closed(schema: Any) -> Any:
    """The same without leave for keys it does not name; an object that names none may have any."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(one) for name, one in schema.items()}
    if schema.get("type") == "object" and schema.get("properties") and isinstance(schema["properties"], dict):
        inner.setdefault("additionalProperties", False)
    return inner
