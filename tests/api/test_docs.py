"""docs/api.md shows the very routes there are, and every code an error can have."""

from __future__ import annotations

import re
from pathlib import Path

from pvc_api_falcon.routes import ROUTES, THERE

from .rig import samples
from .test_errors import TABLE

DOC = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def rows() -> dict[tuple[str, str], tuple[str, str]]:
    """(method, path) -> (parameters, answer)."""
    found = re.findall(r"^\| (GET|POST|PUT|DELETE|PATCH) \| `([^`]+)` \| (.*?) \| (.*?) \|", DOC, re.MULTILINE)
    return {(method, path): (names, answer) for method, path, names, answer in found}


def test_the_table_is_the_truth() -> None:
    assert rows().keys() == {(route.method, route.path) for route in THERE}
    for route in THERE:
        names, answer = rows()[route.method, route.path]
        shown = set() if names == "-" else {name.strip() for name in names.split(",")} - {"the action's own"}
        loads = route.takes().load_fields if route.takes else {}
        assert shown == {(field.data_key or name) + "*" * field.required for name, field in loads.items()}, route.path
        assert answer == ("202 task" if route.task else "101 websocket" if route.socket else "200")


def test_every_code_is_told() -> None:
    assert [code for _, _, code in TABLE if f"`{code}`" not in DOC] == ["error"]


def test_no_route_stands_twice_and_each_has_its_sentence() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert all(route.help.endswith(".") for route in ROUTES)


def test_every_path_of_the_samples_is_known() -> None:
    """What PVC answers, this API knows: it is there, or says that it is not there yet."""
    patterns = [(route.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path))) for route in ROUTES]
    for name in samples():
        method, path = name.partition(" (")[0].partition(" without")[0].partition(" {")[0].split(" ")[:2]
        path = path.partition("?")[0]
        assert any(method == known and pattern.fullmatch(path) for known, pattern in patterns), name
