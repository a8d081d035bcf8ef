"""Name filters: anchored as PVC always did, and no input can hang or break them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_core.errors import Invalid
from pvc_core.services.filters import name_filter


@pytest.mark.parametrize(
    ("limit", "matching", "other"),
    [
        (None, ["anything"], []),
        ("web", ["web", "myweb1", "web9"], ["db"]),
        ("^web", ["web", "web1"], ["myweb"]),
        ("web$", ["web", "myweb"], ["web1"]),
        ("^web$", ["web"], ["web1", "aweb"]),
        ("web[12]", ["web1", "web22"], ["web3"]),
        ("a|b", ["a", "xb"], ["c"]),
    ],
)
def test_matches(limit: str | None, matching: list[str], other: list[str]) -> None:
    matches = name_filter(limit)
    assert [name for name in matching + other if matches(name)] == matching


HOSTILE = ("(", "*a", "a{2,1}", "[z-a]", "a" * 257, "(a+)+", "(a*)*b", "((a{2,9}){3,9})+", "(?=a)", r"(a)\1", "(?P<x")


@pytest.mark.parametrize("limit", HOSTILE)
def test_refuses_with_a_sentence(limit: str) -> None:
    with pytest.raises(Invalid) as caught:
        name_filter(limit)
    assert caught.value.message.startswith("the filter")
    assert caught.value.fields


def test_no_pattern_can_take_long() -> None:
    matches = name_filter(".*" * 100 + "x")
    begin = time.perf_counter()
    assert not any(matches("a" * 100) for _ in range(100))
    assert time.perf_counter() - begin < 2.0


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken_or_refused(limit: str) -> None:
    try:
        name_filter(limit)("vm1")
    except Invalid as refused:
        assert refused.message
