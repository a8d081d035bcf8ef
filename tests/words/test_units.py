"""Sizes at the edge: what is taken, what is refused, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.errors import Invalid
from pvc_core.units import format_size, parse_size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("512", 512),
        ("10K", 10240),
        ("10k", 10240),
        ("10G", 10 * 1024**3),
        ("10GiB", 10 * 1024**3),
        (" 20 M ", 20 << 20),
    ],
)
def test_takes(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "10X", "-1", "1.5G", "G", "10\u212a", "\u0661\u0660G", "1e9", "9" * 30, "10 G B", "0x10"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(Invalid):
        parse_size_bytes(text)


@given(st.integers(min_value=0, max_value=2**60))
def test_the_shortest_form_is_exact(size_bytes: int) -> None:
    assert parse_size_bytes(format_size(size_bytes)) == size_bytes


@given(st.text(max_size=30))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        assert parse_size_bytes(text) >= 0
    except Invalid as refused:
        assert refused.message
