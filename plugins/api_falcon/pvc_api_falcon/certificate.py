"""TLS of the port: sane limits, and a certificate that is renewed on disk is used for the next connection."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

LOOK_S = 5.0


def harden(context: ssl.SSLContext) -> None:
    """TLS 1.2 with forward secrecy, or newer (RFC 9325)."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


async def keep_current(context: ssl.SSLContext, certificate: str, key: str, log: Any, *, every_s: float) -> None:
    """Load both files again whenever one has changed. A pair that does not fit (yet) is told once and not used."""
    known, complained = _stamp(certificate, key), None
    while True:
        await asyncio.sleep(every_s)
        now = _stamp(certificate, key)
        if now == known:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)  # a trial
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            if now != complained:
                log.error("the new certificate cannot be used; the old one stays", file=certificate, error=str(error))
            complained = now
            continue
        known, complained = now, None
        log.info("the certificate was renewed", file=certificate)


def _stamp(*files: str) -> tuple[Any, ...]:
    found: list[Any] = []
    for file in files:
        try:
            state = os.stat(file)
        except OSError as error:
            found.append(error.errno)
        else:
            found.append((state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(found)
