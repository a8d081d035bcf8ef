"""What each ZooKeeper server says of itself, asked over its clients' port with the four-letter word `srvr`
(ZooKeeper 3.8 administrator's guide).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pvc_core.config import Config, EmbeddedStore
from pvc_core.daemon.checks.resolving import resolve, unknown
from pvc_core.founding.places import pki_of, store_hosts

ASK_S = 4.0


def servers(config: Config, *, deadline_s: float = ASK_S) -> Mapping[str, Mapping[str, str]]:
    """By coordinator: {"mode", "outstanding"}, or {"error"}. Empty for the embedded store, which has no servers.

    One that is without power costs all of `deadline_s`.
    """
    return {name: _srvr(one) for name, one in _all(config, b"srvr", deadline_s).items()}


def own(config: Config, *, deadline_s: float) -> Mapping[str, str]:
    """As `servers`, of this coordinator's alone."""
    return _srvr(_all(config, b"srvr", deadline_s, only=config.node)[config.node])


def said(config: Config, word: bytes, *, deadline_s: float = ASK_S) -> Mapping[str, str]:
    """What each server answers to a four-letter word; "" for one that does not."""
    return {name: one if isinstance(one, str) else "" for name, one in _all(config, word, deadline_s).items()}


def _srvr(one: str | NoWord) -> Mapping[str, str]:
    return {"error": one.why} if isinstance(one, NoWord) else read_srvr(one)


@dataclass(frozen=True, slots=True)
class NoWord:
    """A server that did not answer, and why."""

    why: str


def _all(config: Config, word: bytes, deadline_s: float, *, only: str = "") -> Mapping[str, str | NoWord]:
    if isinstance(config.store, EmbeddedStore):
        return {}
    hosts = dict(zip(config.cluster.coordinators, store_hosts(config).split(","), strict=True))
    hosts = {only: hosts[only]} if only else hosts
    try:
        context = _context(config) if config.store.tls else None
    except OSError as error:
        return {name: NoWord(f"this node's certificate cannot be used: {error}") for name in hosts}
    found = resolve(_parted(host)[0] for host in hosts.values())
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = pool.map(lambda host: _asked(*_parted(host), found, context, word, deadline_s), hosts.values())
        return dict(zip(hosts, answers, strict=True))


def _parted(host: str) -> tuple[str, int]:
    where, _, port = host.rpartition(":")
    return where.strip("[]"), int(port)


def _context(config: Config) -> ssl.SSLContext:
    """Servers want a certificate of the cluster's from their clients. Raises OSError."""
    context, pki = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pki_of(config)
    context.load_verify_locations(pki / "ca.crt")
    context.load_cert_chain(pki / "node.crt", pki / "node.key")
    context.check_hostname = False  # servers are called by address or name; the authority is the cluster's own
    return context


def _asked(
    name: str,
    port: int,
    found: Mapping[str, tuple[str, ...] | None],
    context: ssl.SSLContext | None,
    word: bytes,
    deadline_s: float,
) -> str | NoWord:
    addresses = found[name]
    if not addresses:
        return NoWord(unknown(name, addresses))
    try:
        with socket.create_connection((addresses[0], port), deadline_s) as plain:
            line = context.wrap_socket(plain) if context else plain
            line.settimeout(deadline_s)
            line.sendall(word)
            return _all_of(line)
    except OSError as error:
        return NoWord(str(error.strerror or error))


def _all_of(line: socket.socket) -> str:
    found = bytearray()
    try:
        while piece := line.recv(4096):
            found += piece
    except ssl.SSLEOFError:
        pass  # it closes without a word of TLS when it has said all
    return found.decode("utf-8", "replace")


def read_srvr(text: str) -> Mapping[str, str]:
    """
    >>> read_srvr("Outstanding: 3\\nMode: leader\\n")
    {'mode': 'leader', 'outstanding': '3'}
    """
    pairs = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if "Mode" not in pairs:
        return {"error": "it is there but has no majority" if "not currently serving" in text else "no usable answer"}
    return {"mode": pairs["Mode"], "outstanding": pairs.get("Outstanding", "0")}
