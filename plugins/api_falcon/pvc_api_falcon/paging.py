"""Parts of an answer: some of a list's objects (page, per_page), some of their keys (fields). For every GET."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from marshmallow import Schema

from pvc_api_falcon.errors import BadParameters
from pvc_api_falcon.fields import Names, whole
from pvc_api_falcon.params import gather, load
from pvc_api_falcon.route import JSON, Answer, Route
from pvc_api_falcon.settings import BASE

PER_PAGE = 100


class FieldsIn(Schema):
    """Every GET takes it."""

    fields_ = Names(
        data_key="fields", load_default=list,
        metadata={"description": "only these keys of each object, like name,state; the answer has no others then"},
    )  # fmt: skip


class PartIn(FieldsIn):
    """Lists take these too."""

    page = whole(1, 10**9, metadata={"description": f"this part of the list, {PER_PAGE} objects or per_page"})
    per_page = whole(1, 10_000, metadata={"description": "how many objects a page has"})


def is_list(route: Route, routes: tuple[Route, ...]) -> bool:
    """Whether it answers a list of what there are routes for one by one."""
    below = [one.path.removeprefix(route.path + "/") for one in routes if one.path.startswith(route.path + "/")]
    return (
        route.method == "GET"
        and route.path not in ("/tasks", "/provisioner")
        and any(all(part.startswith("{") for part in rest.split("/")) for rest in below)
    )


def part_of(answer: Answer, query: bytes, path: str) -> Answer:
    """What of it was asked for. Raises BadParameters."""
    if answer.content_type != JSON or answer.status != 200 or not any(word in query for word in (b"fields", b"page")):
        return answer
    asked = load(PartIn(), gather(query, "", b""))
    body, headers = answer.body, dict(answer.headers)
    if ("page" in asked or "per_page" in asked) and body.startswith(b"["):
        found = msgspec.json.decode(body, type=list[msgspec.Raw])
        page, per_page = asked.get("page", 1), asked.get("per_page", PER_PAGE)
        part = found[(page - 1) * per_page : page * per_page]
        body = b"[" + b",".join(bytes(one) for one in part) + b"]"
        headers["X-Total-Count"] = str(len(found))
        if link := _links(path, query, page, per_page, len(found)):
            headers["Link"] = link
    if asked["fields_"]:
        body = _with_fields(body, asked["fields_"])
    return replace(answer, body=body, headers=headers)


def _links(path: str, query: bytes, page: int, per_page: int, total: int) -> str:
    """RFC 8288: where the pages beside this one are."""
    last = max(1, -(-total // per_page))
    places = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
    given = gather(query, "", b"").query
    found = []
    for name, number in places.items():
        if 1 <= number <= last and not (name in ("prev", "next") and number == page):
            params = urlencode({**given, "page": [str(number)], "per_page": [str(per_page)]}, doseq=True)
            found.append(f'<{BASE}{path}?{params}>; rel="{name}"')
    return ", ".join(found)


def _with_fields(body: bytes, names: list[str]) -> bytes:
    found: Any = msgspec.json.decode(body)
    objects = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    known = {name for one in objects for name in one}
    if objects and (unknown := [name for name in names if name not in known]):
        wrong = {"fields": f"there is no {', '.join(unknown)} here"}
        raise BadParameters(wrong, help=f"keys: {', '.join(sorted(known))}")
    picked = [{name: one[name] for name in names if name in one} for one in objects]
    return msgspec.json.encode(picked if isinstance(found, list) else (picked[0] if picked else found))
