"""What this API can do, for programs (OpenAPI) and for people. The routes are handed in: they include these two."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from pvc_api_falcon.openapi import document
from pvc_api_falcon.page import POLICY, page
from pvc_api_falcon.route import Answer, Call, Route
from pvc_core import __version__

HTML = "text/html; charset=utf-8"


def doc_routes(all_routes: Callable[[], tuple[Route, ...]]) -> tuple[Route, ...]:
    @functools.cache
    def made() -> tuple[bytes, bytes]:
        found = document(all_routes(), __version__)
        return msgspec.json.encode(found), page(found).encode()

    def show_document(call: Call) -> Answer:
        return Answer(body=made()[0])

    def show_page(call: Call) -> Answer:
        return Answer(body=made()[1], content_type=HTML, headers={"Content-Security-Policy": POLICY})

    return (
        Route(
            method="GET", path="/openapi.json", does=show_document, open=True, gives=dict[str, Any],
            help="This API as an OpenAPI 3.1 document.",
        ),
        Route(
            method="GET", path="/docs", does=show_page, open=True, content_type=HTML,
            help="The same as a page to read.",
        ),
    )  # fmt: skip
