"""Parameters: in three places alike, never two values for one name, wrong ones told by name."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from marshmallow import Schema, fields

from pvc_api_falcon.errors import BadParameters, Unsupported
from pvc_api_falcon.fields import Names, Pairs, Several, choice, flag, size, text, whole
from pvc_api_falcon.params import FORM, JSON, MISSING, gather, load
from pvc_core.errors import Invalid

from .fake_compute import definition


class In(Schema):
    name = text(required=True)
    state = choice("state", ("on", "off"))
    wait = flag()
    count = whole(1, 9)
    size = size()
    limit = Names()
    tag = Several(load_default=list)
    option = Pairs(load_default=dict)


def loaded(query: str = "", kind: str = "", body: str = "") -> dict[str, Any]:
    return load(In(), gather(query.encode(), kind, body.encode()))


def wrong(query: str = "", kind: str = "", body: str = "") -> dict[str, str]:
    with pytest.raises(BadParameters) as caught:
        loaded(query, kind, body)
    return caught.value.fields


DEFAULTS = {"wait": False, "tag": [], "option": {}}


@pytest.mark.parametrize(
    "given",
    [
        ("name=a&count=3&wait=True&size=2K", "", ""),
        ("", FORM, "name=a&count=3&wait=yes&size=2K"),
        ("", f"{FORM}; charset=utf-8", "name=a&count=3&wait=1&size=2048"),
        ("", JSON, '{"name": "a", "count": 3, "wait": true, "size": 2048}'),
        ("", JSON, '{"name": "a", "count": "3", "wait": "on", "size": "2K"}'),
        ("name=a&count=3", FORM, "wait=true&size=2K"),
        ("name=a&count=3&wait=true&size=2K", JSON, '{"name": "a", "wait": true}'),
    ],
)
def test_three_places_alike(given: tuple[str, str, str]) -> None:
    assert loaded(*given) == {**DEFAULTS, "name": "a", "count": 3, "wait": True, "size": 2048}


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "yes", "Yes", "1", "on", "y", "t"])
def test_words_for_true(word: str) -> None:
    assert loaded(f"name=a&wait={word}")["wait"] is True


@pytest.mark.parametrize("word", ["false", "False", "no", "0", "off", "n"])
def test_words_for_false(word: str) -> None:
    assert loaded(f"name=a&wait={word}")["wait"] is False


def test_lists() -> None:
    assert loaded("name=a&tag=x&tag=y,z")["tag"] == ["x", "y,z"]
    assert loaded("name=a&limit=hv1,hv2&limit=hv3")["limit"] == ["hv1", "hv2", "hv3"]
    assert loaded("name=a&limit=")["limit"] == []
    assert loaded("", JSON, '{"name": "a", "limit": ["hv1", "hv2"], "tag": "x"}') | {} == {
        **DEFAULTS,
        "name": "a",
        "limit": ["hv1", "hv2"],
        "tag": ["x"],
    }
    assert loaded("name=a&option=a=1&option=b=x=y")["option"] == {"a": "1", "b": "x=y"}


def test_what_is_wrong_is_told_by_name() -> None:
    assert wrong() == {"name": MISSING}
    assert wrong("name=") == {"name": MISSING}
    assert wrong("name=a&state=maybe&count=10&wait=perhaps&size=big").keys() == {"state", "count", "wait", "size"}
    assert wrong("name=a&state=maybe") == {"state": "A valid state must be specified"}
    assert wrong("name=a&size=-1G").keys() == {"size"}
    assert wrong(f"name=a&size={'9' * 18}E").keys() == {"size"}
    assert wrong(f"name=a&count={'9' * 5000}").keys() == {"count"}
    for count in ("1_0", "1.5", "٣", "", "0x1"):
        assert wrong(f"name=a&count={count}").keys() == {"count"}
    assert wrong("", JSON, '{"name": "a", "count": 1.5}').keys() == {"count"}
    assert loaded("", JSON, '{"name": "a", "count": 3.0}')["count"] == loaded("name=a&count=%203")["count"] == 3
    assert wrong("name=a&option=novalue").keys() == {"option"}
    assert wrong("", JSON, '{"name": {"a": 1}}') == {"name": "is no text"}
    assert wrong("", JSON, '{"name": ["a", "b"]}').keys() == {"name"}


def test_two_values_for_one_name() -> None:
    assert wrong("name=a", FORM, "name=b") == {"name": "given twice, with different values"}
    assert wrong("name=a&name=b") == {"name": "given twice, with different values"}
    assert loaded("name=a&name=a")["name"] == "a"
    assert wrong("", JSON, '{"name": "a", "name": "b"}') == {"name": "given twice, with different values"}
    assert loaded("", JSON, '{"name": "a", "name": "a"}')["name"] == "a"


def test_text_is_utf_8_or_refused() -> None:
    """curl's --data sends it as it is, a browser in percent; either is the same text, and nothing else is made one."""
    for given in (b"name=gr\xc3\xbcn", b"name=gr%C3%BCn"):
        assert load(In(), gather(b"", FORM, given))["name"] == load(In(), gather(given, "", b""))["name"] == "grün"
    for given in (b"name=gr\xfcn", b"name=gr%fcn", b"name=a&\xfc=1", b"name=a&tag=x&tag=%ff"):
        for place in ((given, "", b""), (b"", FORM, given)):
            with pytest.raises(BadParameters, match="not valid UTF-8"):
                load(In(), gather(*place))


def test_unknown_keys() -> None:
    """A typing error in JSON is told; query and form may carry what only PVC's old API knew."""
    assert wrong("", JSON, '{"name": "a", "nmae": "b"}') == {"nmae": "unknown parameter"}
    assert loaded("name=a&whatever=1", FORM, "more=2")["name"] == "a"
    assert loaded("", JSON, '{"name": "a", "state": null}')["name"] == "a"


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "1", '"a"', '{"name": NaN}', "[" * 100_000, '{"name": "\\ud800"}', '{"a":' * 2000, "\ufeff{}"],
)
def test_bodies_that_are_no_json_object(body: str) -> None:
    with pytest.raises(Invalid):
        loaded("", JSON, body)


def test_other_bodies() -> None:
    with pytest.raises(Unsupported):
        loaded("", "text/plain", "name=a")
    with pytest.raises(Invalid):
        loaded("&".join(f"p{number}=1" for number in range(2000)))


CURL_F = "multipart/form-data; boundary=x"


def parts(*named: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"--x\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % one for one in named) + b"--x--\r\n"


def test_a_form_in_parts() -> None:
    """`curl -F name=a`: PVC 1.0 took it, too."""
    body = parts((b'name="name"', "grün\r\n".encode()), (b'name="tag"', b"a"), (b'name="tag"', b"b"))
    assert load(In(), gather(b"", CURL_F, body)) == {**DEFAULTS, "name": "grün\r\n", "tag": ["a", "b"]}
    with pytest.raises(BadParameters, match="given twice"):
        load(In(), gather(b"name=b", CURL_F, parts((b'name="name"', b"a"))))
    with pytest.raises(BadParameters, match="UTF-8"):
        load(In(), gather(b"", CURL_F, parts((b'name="name"', b"\xff"))))
    with pytest.raises(Unsupported, match="no file"):
        gather(b"", CURL_F, parts((b'name="name"; filename="x"', b"a")))
    for kind, broken in (
        (CURL_F, b"--x\r\n"),
        (CURL_F, b"nothing"),
        ("multipart/form-data", b"--x--"),
        (CURL_F, b"--x"),
    ):
        with pytest.raises(Invalid):
            gather(b"", kind, broken)


def test_free_parameters_go_on_as_they_came() -> None:
    class Node(Schema):
        node = fields.String()

    given = gather(b"node=hv1&depth=3", JSON, b'{"deep": {"a": [1]}}')
    assert load(Node(), given, free=True) == {"node": "hv1", "depth": "3", "deep": {"a": [1]}}


# -- the same over HTTP ------------------------------------------------------------------------------------------------


def test_define_as_each_client_does(client: httpx2.Client) -> None:
    """The old client sends the XML as a form; a new one JSON; a script everything in the query."""
    assert (
        client.post(
            "/vm", data={"xml": definition("form1"), "limit": "hv1", "migration_max_downtime": "300"}
        ).status_code
        == 200
    )
    body = {"xml": definition("json1"), "user_tags": ["a", "b"], "protected_tags": "c", "autostart": True}
    assert client.post("/vm", json=body).status_code == 200
    assert client.post("/vm", params={"xml": definition("query1"), "user_tags": ["x", "y"]}).status_code == 200
    assert [tag["name"] for tag in client.get("/vm/json1/tags").json()["tags"]] == ["a", "b", "c"]
    assert [tag["protected"] for tag in client.get("/vm/json1/tags").json()["tags"]] == [False, False, True]
    assert client.get("/vm/json1/meta").json()["node_autostart"] == "True"
    assert client.get("/vm/form1/meta").json()["node_limit"] == ["hv1"]
    assert [tag["name"] for tag in client.get("/vm/query1/tags").json()["tags"]] == ["x", "y"]


def test_two_places_two_values_is_refused(client: httpx2.Client) -> None:
    answer = client.post("/vm/nope/state?state=start", data={"state": "stop"})
    assert answer.status_code == 400
    assert answer.json()["message"] == {"state": "given twice, with different values"}


def test_unknown_json_key_is_named(client: httpx2.Client) -> None:
    answer = client.post("/vm", json={"xml": definition("typo"), "selektor": "mem"})
    assert answer.status_code == 400 and answer.json()["message"] == {"selektor": "unknown parameter"}
    assert "selector" in answer.json()["help"]
    assert client.get("/vm/typo").status_code == 404
