"""Passing a question on to another node, with its bytes both ways: pvcapid has no certificate, its daemon has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pvc_core.errors import Invalid
from pvc_core.peer.answering import Answer, Handler
from pvc_core.peer.client import Reply, ask
from pvc_core.peer.network import Address

QUESTION = "relay"
MORE_S = 2.0
"""The relay waits for `deadline_s`; who asks it waits so much longer, to hear of it."""
_TICK_S = 1.0


def relay(address_of: Callable[[str], Address]) -> Handler:
    """The handler. `address_of` raises NotFound or Permanent for a node that cannot be asked."""

    def handler(args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        try:
            node, question, inner = str(args["node"]), str(args["ask"]), dict(args["args"])
            deadline_s, with_body = float(args["deadline_s"]), bool(args["body"])
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"this cannot be passed on: {error}") from None
        reply = ask(
            address_of(node), question, inner, body=body if with_body else None, deadline_s=deadline_s, idle_s=None
        )
        return Answer(reply.result, _passing(reply) if reply.has_body else None)

    return handler


def relayed(
    node: str, question: str, args: Mapping[str, Any], *, with_body: bool, deadline_s: float
) -> tuple[str, dict[str, Any]]:
    """(question, args) by which the relay is asked."""
    return QUESTION, {"node": node, "ask": question, "args": dict(args), "deadline_s": deadline_s, "body": with_body}


def _passing(reply: Reply) -> Iterator[bytes]:
    """Closed when the client leaves, which the other node then notices."""
    try:
        yield from reply.ticking(_TICK_S)
    finally:
        reply.close()
