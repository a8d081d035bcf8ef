"""Store records: what is written is read, older and newer ones are handled, large ones fit."""

from __future__ import annotations

import pytest

from pvc_core.errors import Permanent
from pvc_core.model.node import NodeStats
from pvc_core.model.vm import Tag, VmWanted, Want
from pvc_core.schema.records import PACKED, decode, encode
from pvc_core.store.base import VALUE_MAX_BYTES


def test_what_is_written_is_read() -> None:
    vm = VmWanted(uuid="u1", name="wéb", definition="<a>\n</a>", want=Want.START, tags=(Tag(name="x", protected=True),))
    assert decode(encode(vm), VmWanted) == vm
    assert encode(vm).startswith(b'{"schema":1,')


def test_a_field_that_is_missing_has_its_default_and_an_unknown_one_is_ignored() -> None:
    read = decode(b'{"schema":1,"uuid":"u","name":"n","definition":"","from_the_future":[1]}', VmWanted)
    assert (read.name, read.asked, read.want) == ("n", 0, Want.STOP)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"uuid":7}', b"zz", b"\xff", b'{"schema":1,"want":"fly"}'])
def test_what_is_no_record_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(Permanent, match="VmWanted in the store cannot be read"):
        decode(data, VmWanted)


def test_statistics_of_two_thousand_guests_fit_into_one_value() -> None:
    disks = {f"sd{letter}": {"rd_req": 1, "rd_bytes": 2**40, "wr_req": 3, "wr_bytes": 2**41} for letter in "abc"}
    nics = {
        f"52:54:00:00:00:0{digit}": dict.fromkeys(("rd_bytes", "rd_packets", "wr_bytes"), 2**42) for digit in range(2)
    }
    guests = {f"{number:08d}-0000-4000-8000-000000000000": {"disks": disks, "nics": nics} for number in range(2000)}
    data = encode(NodeStats(node="hv1", guests=guests))
    assert data.startswith(PACKED)
    assert len(data) < VALUE_MAX_BYTES
    assert decode(data, NodeStats).guests == guests
