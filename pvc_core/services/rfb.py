"""What of a VNC client's words reaches a guest's screen when its user may only look: the Remote Framebuffer protocol,
RFC 6143, from the client's side, with QEMU's and the common extensions' lengths.

A screen is not a thing to be careful with by halves: what this does not know ends the connection.
"""

from __future__ import annotations

from pvc_core.errors import Refused

VERSION_BYTES = 12
NONE, VNC_AUTH = 1, 2
CHALLENGE_BYTES = 16

SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, KEY, POINTER, CUT_TEXT = 0, 2, 3, 4, 5, 6
CONTINUOUS_UPDATES, FENCE, DESKTOP_SIZE, QEMU = 150, 248, 251, 255
FIXED = {SET_PIXEL_FORMAT: 20, UPDATE_REQUEST: 10, KEY: 8, POINTER: 6, CONTINUOUS_UPDATES: 10}
DOES_NOTHING = (SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, CONTINUOUS_UPDATES, FENCE)
WAITS_MAX = 16 * 1024 * 1024


class LookOnly:
    """Passes the handshake and what asks for pictures; keys, clicks, pasted text and new sizes are left out."""

    def __init__(self) -> None:
        self._waits = bytearray()
        self._greeting = ["version", "security"]

    def passed(self, data: bytes) -> bytes:
        """What of it may go on. What is not whole yet waits. Raises Refused for what is not known."""
        self._waits += data
        if len(self._waits) > WAITS_MAX:
            raise Refused("the VNC client says too much at once")
        passed = bytearray()
        while (length := self._length()) and len(self._waits) >= length:
            message = bytes(self._waits[:length])
            del self._waits[:length]
            passed += self._kept(message)
        return bytes(passed)

    def _length(self) -> int:
        """Of the message that begins here; 0 while that cannot be known."""
        if not self._waits:
            return 0
        match self._greeting[0] if self._greeting else "":
            case "version":
                return VERSION_BYTES
            case "security" | "init":
                return 1
            case "challenge":
                return CHALLENGE_BYTES
        return self._message_length()

    def _message_length(self) -> int:
        kind, waits = self._waits[0], self._waits
        if kind in FIXED:
            return FIXED[kind]
        if kind == SET_ENCODINGS:
            return 4 + 4 * int.from_bytes(waits[2:4], "big") if len(waits) >= 4 else 0
        if kind == CUT_TEXT:  # a negative length is that of the extended clipboard
            return 8 + abs(int.from_bytes(waits[4:8], "big", signed=True)) if len(waits) >= 8 else 0
        if kind == FENCE:
            return 9 + waits[8] if len(waits) >= 9 else 0
        if kind == DESKTOP_SIZE:
            return 8 + 16 * waits[6] if len(waits) >= 7 else 0
        if kind == QEMU and len(waits) >= 4:
            return self._qemu_length()
        if kind == QEMU:
            return 0
        raise Refused(
            f"the VNC client says {kind}, which is not known here", help="a key that may type has no such limit"
        )

    def _qemu_length(self) -> int:
        """Submessage 0: a key with its scancode; 1: audio, whose operation 2 brings a format."""
        waits = self._waits
        if waits[1] == 0:
            return 12
        if waits[1] == 1:
            return 10 if int.from_bytes(waits[2:4], "big") == 2 else 4
        raise Refused(f"the VNC client says 255/{waits[1]}, which is not known here")

    def _kept(self, message: bytes) -> bytes:
        if not self._greeting:
            return message if message[0] in DOES_NOTHING else b""
        step = self._greeting.pop(0)
        if step == "security":
            if message[0] not in (NONE, VNC_AUTH):
                raise Refused(
                    f"who may only look can use the security types None and VNC, not {message[0]}",
                    help="take another client, or a key that may type",
                )
            self._greeting = ["challenge", "init"] if message[0] == VNC_AUTH else ["init"]
        return b"\x01" if step == "init" else message
