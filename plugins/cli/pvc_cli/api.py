"""The API as the commands see it: paths, parameters, JSON, and a CliError for every answer that is not a yes.

Parameters travel in the query, long texts (XML, images) in the body, as clients of PVC's API v1 have always sent them.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pvc_cli.connections import Endpoint
from pvc_cli.errors import UNKNOWN, ApiError, CliError, NoAnswer, NotThere
from pvc_cli.transport import RawAnswer, Stream, Transport

BASE = "/api/v1"

WIRE_NAMES = {"yes_i_really_mean_it": "yes-i-really-mean-it", "for_": "for"}
"""Of parameters whose name is no name in Python."""

Value = str | int | float | bool | Sequence[str] | None
"""A parameter: None is left out, a list is repeated."""


@dataclass(frozen=True)
class Answer:
    """`body` is the JSON of the answer, `etag` its version when the API gave one, `location` what it points to."""

    status: int
    body: Any
    etag: str = ""
    location: str = ""

    @property
    def message(self) -> str:
        return message_of(self.body) or "Done."

    @property
    def progress(self) -> str | None:
        """The task that tells how far a change is, beside a plain answer."""
        where, _, id = self.location.rpartition("/")
        return id if where.endswith("/tasks") else None

    @property
    def task_id(self) -> str | None:
        return self.body.get("task_id") if self.status == 202 and isinstance(self.body, dict) else None


class Api:
    def __init__(self, transport: Transport, *, old: Callable[[int, str], None] = lambda seconds, why: None) -> None:
        """`old` is told once when the API says that what it shows is so many seconds old, and why ("" if it does not
        say).
        """
        self._transport, self._old, self._told = transport, old, False
        self.maintenance = ""
        """What the last answer said of the cluster's maintenance; "" when it is off."""

    @property
    def url(self) -> str:
        return self._transport.endpoint.url

    @property
    def endpoint(self) -> Endpoint:
        return self._transport.endpoint

    def beside(self) -> Api:
        """The same API over a connection of its own: for what is streamed while other things are asked."""
        return Api(Transport(self._transport.endpoint))

    def get(self, path: str, /, **params: Value) -> Answer:
        return self._ask("GET", path, params)

    def post(self, path: str, /, *, form: Mapping[str, Value] | None = None, **params: Value) -> Answer:
        return self._ask("POST", path, params, form)

    def put(
        self, path: str, /, *, form: Mapping[str, Value] | None = None, if_match: str = "", **params: Value
    ) -> Answer:
        return self._ask("PUT", path, params, form, {"If-Match": if_match} if if_match else {})

    def delete(self, path: str, /, *, form: Mapping[str, Value] | None = None, **params: Value) -> Answer:
        return self._ask("DELETE", path, params, form)

    def upload(self, path: str, /, content_type: str, body: Stream, **params: Value) -> Answer:
        return self._ask("POST", path, params, body=body, headers={"Content-Type": content_type})

    def follow(self, path: str, /, **params: Value) -> Iterator[str] | None:
        """A text as it comes into being; None from an API that can only be asked again and again."""
        target = f"{BASE}{path}?{encoded({**params, 'follow': True})}"
        found = self._transport.stream(target, self._headers())
        if not isinstance(found, RawAnswer):
            # A piece may end in the middle of a character.
            return codecs.iterdecode(found, "utf-8", errors="replace")
        checked("GET", target, found)
        return None

    def download(self, path: str, /, **params: Value) -> Iterator[bytes]:
        """A file, piece by piece. Raises NoAnswer when it breaks off."""
        query = encoded(params)
        target = f"{BASE}{path}?{query}" if query else f"{BASE}{path}"
        found = self._transport.download(target, self._headers())
        if isinstance(found, RawAnswer):
            checked("GET", target, found)
            return iter(())
        return found

    def one(self, path: str, what: str) -> Answer:
        """GET of one object; PVC's API answers a list of one. `what` names it for the error."""
        answer = self.get(path)
        if not isinstance(answer.body, list):
            return answer
        if len(answer.body) != 1:
            raise NotThere(f"There is no {what}.")
        return Answer(answer.status, answer.body[0], answer.etag)

    def close(self) -> None:
        self._transport.close()

    def _headers(self) -> dict[str, str]:
        key = self._transport.endpoint.api_key
        return {"Accept": "application/json, text/plain", **({"X-Api-Key": key} if key else {})}

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Value],
        form: Mapping[str, Value] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Stream = b"",
    ) -> Answer:
        all_headers = {**self._headers(), **(headers or {})}
        if form is not None:
            body = encoded(form).encode()
            all_headers["Content-Type"] = "application/x-www-form-urlencoded"
        query = encoded(params)
        target = f"{BASE}{path}?{query}" if query else f"{BASE}{path}"
        raw = self._transport.request(method, target, all_headers, body)
        self._tell_age(raw.headers.get("pvc-stale", ""), raw.headers.get("warning", ""))
        self.maintenance = raw.headers.get("pvc-maintenance", "")
        return checked(method, target, raw)

    def _tell_age(self, seconds: str, warning: str) -> None:
        """`warning` is RFC 7234's, section 5.5: 110 - "as of 12 s ago: why"."""
        if seconds.isdigit() and not self._told:
            self._told = True
            self._old(int(seconds), warning.partition(" ago: ")[2].removesuffix('"'))


def path(*parts: str | int) -> str:
    """A path below /api/v1 from names, each quoted whole. Raises CliError for an empty name.

    >>> path("vm", "a/b")
    '/vm/a%2Fb'
    """
    texts = [str(part) for part in parts]
    if any(text in ("", ".", "..") for text in texts):
        raise CliError(f'"{" ".join(texts)}": a name may not be empty, "." or "..".')
    return "/" + "/".join(quote(text, safe="") for text in texts)


def encoded(params: Mapping[str, Value]) -> str:
    """Form encoding, with the wire's own spelling of the few names that Python cannot spell."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if value is None:
            continue
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        wire_name = WIRE_NAMES.get(name, name)
        pairs += [(wire_name, str(one).lower() if isinstance(one, bool) else str(one)) for one in values]
    return urlencode(pairs)


def checked(method: str, target: str, raw: RawAnswer) -> Answer:
    """The answer with its JSON. Raises ApiError for 4xx and 5xx, NoAnswer for what is no answer of PVC's API."""
    try:
        body = json.loads(raw.body) if raw.body else None
    except ValueError:
        if raw.status < 400:
            raise NoAnswer(
                f"{method} {target} answered {raw.status} with something that is no JSON.",
                help="is this PVC's API? a proxy between may have answered",
            ) from None
        body = None
    if raw.status < 300:
        return Answer(raw.status, body, raw.headers.get("etag", ""), raw.headers.get("location", ""))
    extra = body if isinstance(body, dict) else {}
    if not_known(raw.status, extra):
        raise ApiError(
            raw.status,
            f"This cluster's API has no {method} {target.partition('?')[0]}.",
            code=UNKNOWN,
            help="its PVC is older than this pvc: upgrade the cluster, or use the pvc of its version",
        )
    raise ApiError(
        raw.status,
        message_of(body) or f"{method} {target} answered {raw.status} and gave no reason.",
        code=str(extra.get("code") or ""),
        help=str(extra.get("help") or "") or HELP_BY_STATUS.get(raw.status, ""),
        request_id=str(extra.get("request_id") or raw.headers.get("x-request-id", "")),
    )


def not_known(status: int, body: Mapping[str, Any]) -> bool:
    """Whether it is the path that is not there, and not what it names. PVC 1.0 has no codes, but Flask's words."""
    if "code" in body:
        return body["code"] in (UNKNOWN, "no_such_method")
    flask = ("The requested URL was not found on the server.", "The method is not allowed for the requested URL.")
    return status in (404, 405) and message_of(body).startswith(flask)


HELP_BY_STATUS = {
    401: "give the connection an API key: pvc connection add NAME -a ADDRESS -k API_KEY (keys: pvcnoded key add)",
    500: "this is a fault in PVC; the log of pvcapid tells more",
}


def message_of(body: Any) -> str:
    """The sentence in an answer; several, by field, are put one after the other."""
    found = body.get("message") if isinstance(body, dict) else None
    if isinstance(found, dict):
        return "; ".join(f"{field}: {text}" for field, text in found.items())
    return str(found) if found else ""
