"""A session for browsers: the key in a cookie that scripts cannot read and other sites cannot use. The API itself keeps
no sessions: a removed key ends them all.
"""

from __future__ import annotations

from marshmallow import Schema

from pvc_api_falcon.auth import COOKIE
from pvc_api_falcon.fields import text
from pvc_api_falcon.route import Answer, Call, Route, said
from pvc_api_falcon.settings import BASE


class LoginIn(Schema):
    token = text(required=True)


def login(call: Call) -> Answer:
    return _with_cookie("You are logged in.", call, call.args["token"], "")


def logout(call: Call) -> Answer:
    return _with_cookie("You are logged out.", call, "", "; Max-Age=0")


def _with_cookie(sentence: str, call: Call, value: str, more: str) -> Answer:
    safe = "; Secure" if call.secure else ""
    cookie = f"{COOKIE}={value}; Path={BASE}; HttpOnly; SameSite=Strict{safe}{more}"
    return Answer(body=said(sentence).body, headers={"Set-Cookie": cookie})


ROUTES = (
    Route(
        method="POST", path="/login", does=login, takes=LoginIn, open=True, login=True,
        help="A cookie for browsers, for the API key given as token.",
    ),
    Route(method="POST", path="/logout", does=logout, open=True, help="Without that cookie again."),
)  # fmt: skip
