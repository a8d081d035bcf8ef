"""Each route states the least role it needs, and the API holds everybody to it; keys over the API."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from pvc_api_falcon.roles import ADMIN, ALSO_LOOKING, least_role
from pvc_api_falcon.route import Route
from pvc_api_falcon.routes import ROUTES

from .fake_compute import definition
from .rig import Api

ROLES = ("read-only", "operator", "admin")


@pytest.fixture(scope="module")
def clients(api: Api) -> Iterator[dict[str, httpx2.Client]]:
    keys = {role: api.rig.services.keys.add(f"role-{role}", role) for role in ("read-only", "operator")}
    api.rig.keeper.settle()
    made = {role: api.client(key=key) for role, key in keys.items()}
    yield made
    for client in made.values():
        client.close()


def ids(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=ids)
def test_every_route_keeps_out_whoever_may_less(route: Route, clients: dict[str, httpx2.Client], api: Api) -> None:
    """With names of nothing and no parameters: who is let in meets another error, or none."""
    path = re.sub(r"\{\w+\}", "nothing", route.path)
    least = least_role(route)
    with api.client(key="") as nobody:
        assert (nobody.request(route.method, path).status_code == 401) is (least != "")
    for role, client in clients.items():
        answer = client.request(route.method, path) if _harmless(route) or _refused(role, least) else None
        if answer is not None:
            assert (answer.status_code == 403) is _refused(role, least), (role, least, answer.text)
            assert answer.status_code != 403 or (least in answer.json()["help"] and role in answer.json()["message"])


def _refused(role: str, least: str) -> bool:
    return bool(least) and ROLES.index(role) < ROLES.index(least)


def _harmless(route: Route) -> bool:
    """Not those that would do something to all there is."""
    return (route.method == "GET" and not route.asks) or "{" in route.path


def test_looking_and_changing() -> None:
    for route in ROUTES:
        assert least_role(route) in ("", *ROLES)
        if route.method != "GET" and not route.open and (route.method, route.path) not in ALSO_LOOKING:
            assert least_role(route) in ("operator", "admin"), ids(route)
    assert {("POST", "/restore"), ("POST", "/initialize"), ("DELETE", "/key/{key}"), ("GET", "/audit")} <= ADMIN


def test_every_admin_route_is_there() -> None:
    assert {(route.method, route.path) for route in ROUTES} >= ADMIN


def test_a_role_that_nobody_knows_may_nothing(api: Api) -> None:
    from dataclasses import replace

    from pvc_core.cluster import layout

    key = api.rig.services.keys.add("future", "operator")
    kept = api.rig.repository.get(layout.KEYS, "future")
    api.rig.repository.set(layout.KEYS, "future", replace(kept.value, role="owner"), if_version=kept.version)
    api.rig.keeper.settle([layout.KEYS.key("future")])
    with api.client(key=key) as client:
        assert client.get("/vm").status_code == 403


OUTSIDE = '<outside what="host file /etc/shadow"/>'


def test_what_reaches_outside_needs_an_admin(api: Api, clients: dict[str, httpx2.Client]) -> None:
    operator = clients["operator"]
    answer = operator.post("/vm", data={"xml": definition("reacher", more=OUTSIDE)})
    assert answer.status_code == 403 and "/etc/shadow" in answer.json()["message"]
    assert operator.post("/vm", data={"xml": definition("ordinary")}).status_code == 200
    answer = operator.put("/vm/ordinary", data={"xml": definition("ordinary", more=OUTSIDE)})
    assert answer.status_code == 403
    with api.client() as admin:
        assert admin.put("/vm/ordinary", data={"xml": definition("ordinary", more=OUTSIDE)}).status_code == 200
    # What an admin gave may stay, and nothing may be added to it.
    changed = definition("ordinary", memory_mib=1024, more=OUTSIDE)
    assert operator.put("/vm/ordinary", data={"xml": changed}).status_code == 200
    more = OUTSIDE + '<outside what="host device sda"/>'
    answer = operator.put("/vm/ordinary", data={"xml": definition("ordinary", more=more)})
    assert answer.status_code == 403 and "sda" in answer.json()["message"] and "shadow" not in answer.json()["message"]


def test_keys_over_the_api(api: Api, client: httpx2.Client) -> None:
    made = client.post("/key", data={"name": "robot", "role": "read-only", "description": "graphs"})
    assert made.status_code == 200 and made.json()["key"].startswith("robot.")
    shown = client.get("/key/robot").json()
    assert [(one["name"], one["role"], one["description"]) for one in shown] == [("robot", "read-only", "graphs")]
    assert "digest" not in client.get("/key").text and made.json()["key"] not in client.get("/key").text
    with api.client(key=made.json()["key"]) as robot:
        assert robot.get("/vm").status_code == 200
        assert client.delete("/key/robot").status_code == 200
        assert robot.get("/vm").status_code == 401
    assert client.delete("/key/robot").status_code == 404 == client.get("/key/robot").status_code
    for wrong in ({"name": "a.b", "role": "admin"}, {"name": "x", "role": "god"}, {"role": "admin"}):
        assert client.post("/key", data=wrong).status_code == 400
