"""The rbd diff format is read in pieces of any length, both versions, and what is none is refused at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.contracts import diffs
from pvc_core.contracts.diffs import Data, Reader, Zeros
from pvc_core.errors import Refused


def stream(version: int, since: str = "s1") -> bytes:
    head = diffs.head(version, since=since, snapshot="s2", size_bytes=8192)
    data = diffs.data_head(version, 100, 4) + b"abcd" + diffs.zeros(version, 4096, 4096)
    return head + data + diffs.END


def read(data: bytes, step: int) -> tuple[Reader, bytes, list[Zeros]]:
    reader, content, zeros = Reader(), b"", []
    for start in range(0, len(data), step):
        for one in reader.feed(data[start : start + step]):
            if isinstance(one, Data):
                assert one.offset == 100 + len(content)
                content += one.data
            else:
                zeros.append(one)
    reader.finish()
    return reader, content, zeros


@pytest.mark.parametrize("version", [1, 2])
@given(step=st.integers(1, 200))
def test_pieces_of_any_length(version: int, step: int) -> None:
    reader, content, zeros = read(stream(version), step)
    assert (reader.since, reader.snapshot, reader.size_bytes) == ("s1", "s2", 8192)
    assert (content, zeros) == (b"abcd", [Zeros(4096, 4096)])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_one_that_is_cut_off_has_no_end(version: int, cut: int) -> None:
    with pytest.raises(Refused):
        read(stream(version)[:-cut], 50)


@pytest.mark.parametrize(
    "wrong",
    [b"rbd diff v3\n", b"QFI\xfb" * 9, stream(1) + b"x", stream(1).replace(b"w", b"q", 1), b"rbd diff v1\ne"],
)
def test_what_is_no_diff_is_refused(wrong: bytes) -> None:
    with pytest.raises(Refused):
        read(wrong, 7)


def test_data_outside_the_volume_is_refused() -> None:
    head = diffs.head(1, since="", snapshot="s", size_bytes=4096)
    with pytest.raises(Refused, match="outside"):
        read(head + diffs.data_head(1, 4000, 100) + bytes(100) + b"e", 50)
