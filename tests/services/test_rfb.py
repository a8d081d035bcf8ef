"""What of a VNC client's words reaches a screen that its user may only look at; however it comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.errors import Refused
from pvc_core.services.rfb import LookOnly

VERSION, SHARED = b"RFB 003.008\n", b"\x01"
ASK, FORMAT, ENCODINGS = b"\x03" + bytes(9), bytes(20), b"\x02\x00\x00\x02" + bytes(8)
KEY, CLICK = b"\x04\x01" + bytes(6), b"\x05\x01" + bytes(4)
PASTE = b"\x06\0\0\0\x00\x00\x00\x03abc"
PASTE_MORE = b"\x06\0\0\0" + (-5).to_bytes(4, "big", signed=True) + b"12345"
QEMU_KEY, AUDIO, AUDIO_AS = b"\xff\x00" + bytes(10), b"\xff\x01\x00\x01", b"\xff\x01\x00\x02" + bytes(6)
SIZE, FENCE = b"\xfb\x00" + bytes(4) + b"\x01\x00" + bytes(16), b"\xf8" + bytes(7) + b"\x02xy"
LOOKS = (ASK, FORMAT, ENCODINGS, FENCE)
CHANGES = (KEY, CLICK, PASTE, PASTE_MORE, QEMU_KEY, AUDIO, AUDIO_AS, SIZE)


@given(st.lists(st.sampled_from(LOOKS + CHANGES), max_size=20), st.integers(1, 40), st.booleans())
def test_only_what_asks_for_pictures_passes(said: list[bytes], piece: int, password: bool) -> None:
    greeting = VERSION + (b"\x02" + bytes(16) if password else b"\x01")
    data = greeting + b"\x00" + b"".join(said)
    looker = LookOnly()
    passed = b"".join(looker.passed(data[start : start + piece]) for start in range(0, len(data), piece))
    assert passed == greeting + SHARED + b"".join(one for one in said if one in LOOKS)


@pytest.mark.parametrize("said", [b"\x13", b"\x01\x01\x63", b"\x01\x01\xff\x07\x00\x00"])
def test_what_is_not_known_ends_it(said: bytes) -> None:
    """A security type under which the rest cannot be read, a message and a submessage of nobody's."""
    with pytest.raises(Refused):
        LookOnly().passed(VERSION + said)
