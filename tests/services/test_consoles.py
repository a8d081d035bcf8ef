"""A VM's console as one text: each node has its part, and what cannot be had is named."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pvc_core.contracts.compute import arrival_line
from pvc_core.errors import Refused, Retry
from pvc_core.services.consoles import Consoles
from pvc_core.services.pictures import VmPicture
from pvc_core.testing.clock import FakeClock

FROM_HV1, FROM_HV2 = arrival_line("hv1"), arrival_line("hv2")


class Nodes:
    """Logs by node, asked as a Desk is."""

    def __init__(self, **logs: list[str]) -> None:
        self.logs, self.clock, self.view = logs, FakeClock(), SimpleNamespace(claims={})
        self.silent: set[str] = set()
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def ask(self, node: str, what: str, args: Mapping[str, Any], deadline_s: float) -> Any:
        self.asked.append((node, args))
        if node in self.silent:
            raise Retry(f"node {node} does not answer")
        text = "".join(f"{line}\n" for line in self.logs.get(node, [])[-args["lines"] :] if args["lines"])
        return SimpleNamespace(
            result={"data": text, "position": 0}, close=lambda: None, ticking=lambda tick_s: [b"new\n"]
        )


def vm(node: str = "hv1") -> VmPicture:
    return cast(VmPicture, SimpleNamespace(node=node, wanted=SimpleNamespace(uuid="u", name="web")))


def show(nodes: Nodes, lines: int = 100) -> list[str]:
    return Consoles(cast(Any, nodes)).show(vm(), lines).splitlines()


THERE_AND_BACK = {"hv1": ["a", "b", FROM_HV2, "e"], "hv2": ["old", FROM_HV1, "c", "d"]}


def test_there_and_back_is_in_order() -> None:
    nodes = Nodes(**THERE_AND_BACK)
    assert show(nodes) == ["a", "b", FROM_HV1, "c", "d", FROM_HV2, "e"]
    assert [node for node, _ in nodes.asked] == ["hv1", "hv2"], "each once"


def test_no_more_than_was_asked_for_and_nobody_asked_for_nothing() -> None:
    nodes = Nodes(**THERE_AND_BACK)
    assert show(nodes, 3) == ["d", FROM_HV2, "e"]
    nodes.asked.clear()
    assert show(nodes, 1) == ["e"]
    assert [node for node, _ in nodes.asked] == ["hv1"]


def test_a_node_that_does_not_answer_is_named_where_its_part_would_be() -> None:
    nodes = Nodes(**THERE_AND_BACK)
    nodes.silent = {"hv2"}
    assert show(nodes) == [
        "[pvc: what it wrote on hv2 cannot be shown now: node hv2 does not answer]", FROM_HV2, "e",
    ]  # fmt: skip
    nodes.silent = {"hv1"}
    with pytest.raises(Retry, match="hv1"):
        show(nodes)


def test_a_guest_that_writes_such_lines_itself_ends_in_no_circle() -> None:
    assert show(Nodes(hv1=[arrival_line("hv1"), "x"] * 3)) == [arrival_line("hv1"), "x"] * 3
    assert show(Nodes(hv1=[arrival_line("nowhere"), "x"])) == [arrival_line("nowhere"), "x"]


def test_followed_it_begins_with_the_others_parts() -> None:
    nodes = Nodes(**THERE_AND_BACK)
    flow = Consoles(cast(Any, nodes)).follow(vm(), 100)
    pieces = iter(flow)
    assert next(pieces).decode().splitlines() == ["a", "b", FROM_HV1, "c", "d", FROM_HV2]
    assert next(pieces) == b"new\n"
    assert nodes.asked[-1][1]["arrived"], "then what was written since it came"
    flow.close()
    Consoles(cast(Any, nodes)).follow(vm(), 1).close()
    assert nodes.asked[-1][1]["lines"] == 1 and "arrived" not in nodes.asked[-1][1]
    with pytest.raises(Refused, match="lives on no node"):
        Consoles(cast(Any, nodes)).follow(vm(""), 1)
