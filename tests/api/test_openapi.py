"""The OpenAPI document says what the routes do: the parameters apispec reads out of the same schemas, every status."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from pvc_api_falcon.openapi import document, json_schema
from pvc_api_falcon.roles import least_role
from pvc_api_falcon.route import Nothing, Route
from pvc_api_falcon.routes import THERE
from pvc_api_falcon.words import PARAMETERS

from .rig import Api


@pytest.fixture(scope="module")
def shown(api: Api) -> dict[str, Any]:
    with api.client(key="") as nobody:
        found: dict[str, Any] = nobody.get("/openapi.json").json()
    return found


def test_every_route_and_nothing_else_is_in_it(shown: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, methods in shown["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in THERE}, "what only answers 501 is not promised"
    assert shown == document(THERE, shown["info"]["version"])
    ids = [one["operationId"] for methods in shown["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids)


def test_parameters_are_those_of_the_schemas(shown: dict[str, Any]) -> None:
    plugin = MarshmallowPlugin()
    APISpec(title="", version="", openapi_version="3.1.0", plugins=[plugin])
    assert plugin.converter is not None
    for kind in {route.takes for route in THERE if route.takes not in (None, Nothing)}:
        assert kind is not None
        ours, theirs = json_schema(kind()), plugin.converter.schema2jsonschema(kind())
        assert ours["properties"].keys() == theirs["properties"].keys()
        assert sorted(ours["required"]) == sorted(theirs.get("required", []))
        for name, one in ours["properties"].items():
            said = theirs["properties"][name]
            if "type" in said and one["type"] != "array":
                assert one["type"] == _many(said["type"])[0], (kind, name)
            for limit in ("enum", "minLength", "maxLength", "minimum", "maximum"):
                if limit in said and limit in one:
                    assert list(map(str, _many(one[limit]))) == list(map(str, _many(said[limit]))), (kind, name, limit)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_names_in_the_path_statuses_and_roles(shown: dict[str, Any]) -> None:
    for route in THERE:
        told = shown["paths"][route.path][route.method.lower()]
        in_path = [one["name"] for one in told["parameters"] if one["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", route.path)
        assert ("202" in told["responses"]) is route.task
        assert ("security" in told) is route.open
        assert least_role(route) in told["description"] or route.open


def test_the_page_stands_alone(api: Api) -> None:
    with httpx2.Client(base_url=f"{api.url}/api/v1") as nobody:
        answer = nobody.get("/docs")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")
    assert "http://" not in answer.text and "https://" not in answer.text and "<script" not in answer.text
    assert all(route.path.replace("&", "&amp;") in answer.text for route in THERE)


NOT_TO_TRY = {"fields", "Idempotency-Key", "If-Match"}
"""Whoever sends examples would get parts of what the document says, and 400 and 412 for the rest."""


def test_everything_has_words_and_an_example(shown: dict[str, Any]) -> None:
    """Enough to write a client without reading code."""
    for path, methods in shown["paths"].items():
        for method, told in methods.items():
            bodies = [one["schema"] for one in told.get("requestBody", {}).get("content", {}).values()]
            given = {one["name"]: one["schema"] for one in told["parameters"]}
            for body in bodies:
                given |= body.get("properties", {})
            for name, schema in given.items():
                assert schema["description"], (method, path, name)
                assert name in NOT_TO_TRY or "default" in schema or schema["examples"], (method, path, name)
                validator = jsonschema_rs.Draft202012Validator(schema)
                assert not [wrong.message for one in schema.get("examples", ()) for wrong in validator.iter_errors(one)]
    for name, schema in shown["components"]["schemas"].items():
        assert [key for key, one in schema.get("properties", {}).items() if not one.get("description")] == [], name


def test_no_words_for_what_is_not_there() -> None:
    paths = {f"{route.method} {route.path}": route for route in THERE}
    names = {name for route in THERE for name in _names(route)} | {"fields", "page", "per_page"}
    names |= {"Idempotency-Key", "If-Match"}
    for key in PARAMETERS:
        where, _, name = key.rpartition(" ")
        assert name in (_names(paths[where]) if where else names), key


def _names(route: Route) -> set[str]:
    taken = {field.data_key or name for name, field in route.takes().load_fields.items()} if route.takes else set()
    return taken | set(re.findall(r"\{(\w+)\}", route.path))


def test_the_page_has_every_answer_and_example(api: Api, shown: dict[str, Any]) -> None:
    with httpx2.Client(base_url=f"{api.url}/api/v1") as nobody:
        page = nobody.get("/docs").text
    for name in shown["components"]["schemas"]:
        assert f'<h3 id="{name}">' in page
    assert {one for one in re.findall(r'href="#(\w+)"', page)} <= set(re.findall(r'id="(\w+)"', page))
    assert "like <code>tcp dport 22 accept</code>" in page
