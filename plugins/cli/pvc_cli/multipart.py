"""A file as the body of one multipart/form-data request (RFC 7578), sent in pieces and never held in memory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import BinaryIO

from pvc_cli.transport import Stream

CHUNK_BYTES = 1 << 20


def file_body(field: str, file: BinaryIO, sent: Callable[[int], None]) -> tuple[str, Stream]:
    """Content-Type and body. `sent` is called with the number of bytes of each piece after it went out."""
    boundary = f"pvc{secrets.token_hex(16)}"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="image"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        yield head
        left = size_bytes
        while left:
            # Never more than was announced, even when the file grows meanwhile.
            piece = file.read(min(CHUNK_BYTES, left))
            if not piece:
                raise OSError(f"the file became shorter while it was read: {left} bytes are missing")
            yield piece
            left -= len(piece)
            sent(len(piece))
        yield tail

    return f"multipart/form-data; boundary={boundary}", Stream(len(head) + size_bytes + len(tail), chunks())
