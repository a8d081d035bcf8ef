"""What this plugin adds to `pvc cluster check`: its versions, and whether every node's libvirtd can be reached for a
migration with the certificates libvirt itself uses (libvirt's remote documentation, "TLS").
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pvc_core.hookspecs import hookimpl
from pvc_core.model.check import CheckLine

PORT, ASK_S = 16514, 1.2
SOON_DAYS = 30
TOPIC, PATIENCE = "libvirt TLS", "libvirt patience"
PATIENCE_MOST_S = 12.0
"""How long libvirt may wait for another node's that is silent. When that one hangs at the end of a migration, the guest
stands still for so long. A libvirtd answers from a thread of its own, so one that works is never silent for seconds.
"""
DEFAULTS = {"keepalive_interval": 5, "keepalive_count": 5}
"""libvirt's own, in s and times (qemu.conf): it gives up after interval x (count + 1)."""
COMPARED = ("libvirt", "qemu", "virt_type")


class Check:
    """`pki` is where libvirt, as a client of other nodes, looks for its certificates; `conf` its QEMU driver's file."""

    def __init__(
        self,
        versions: Callable[[], Sequence[tuple[str, str]]],
        *,
        pki: Path = Path("/etc/pki"),
        conf: Path = Path("/etc/libvirt/qemu.conf"),
    ) -> None:
        self._versions, self._pki, self._conf = versions, pki, conf

    @hookimpl
    def pvc_collect_check(self, peers: Mapping[str, str]) -> list[CheckLine]:
        lines = [_version(name, what) for name, what in self._versions() if name in COMPARED]
        return [*lines, *([_patience(self._conf)] if peers else []), *self._reached(peers)]

    def _reached(self, peers: Mapping[str, str]) -> list[CheckLine]:
        try:
            context = self._context()
        except (OSError, ValueError) as error:
            return [
                CheckLine(
                    topic=TOPIC, ok=False, text=f"libvirt's certificates below {self._pki} cannot be used: {error}",
                    remedy="run `pvcnoded init` again, or join the node anew; docs/installing.md says which files",
                )
            ]  # fmt: skip
        with ThreadPoolExecutor(max(1, len(peers))) as pool:
            return list(pool.map(lambda one: _line(context, *one), sorted(peers.items())))

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._pki / "CA/cacert.pem")
        context.load_cert_chain(self._pki / "libvirt/clientcert.pem", self._pki / "libvirt/private/clientkey.pem")
        return context


def _patience(conf: Path) -> CheckLine:
    try:
        text = conf.read_text(errors="replace")
    except OSError:
        text = ""  # libvirt then goes by its defaults, too
    found = {name: re.findall(rf"^\s*{name}\s*=\s*(-?\d+)", text, re.MULTILINE) for name in DEFAULTS}
    interval_s, count = (int(found[name][-1]) if found[name] else default for name, default in DEFAULTS.items())
    patience_s = interval_s * (count + 1) if interval_s > 0 else float("inf")
    said = f"libvirt gives another node's up after {patience_s:.0f} s of silence" if patience_s < float("inf") else (
        "libvirt waits for ever for another node's that is silent"
    )  # fmt: skip
    if patience_s <= PATIENCE_MOST_S:
        return CheckLine(topic=PATIENCE, text=said)
    return CheckLine(
        topic=PATIENCE, ok=False, text=f"{said}, and a guest may stand still for so long at the end of a migration",
        remedy=f"set keepalive_interval = 2 and keepalive_count = 4 in {conf} and restart libvirtd (guests run on)",
    )  # fmt: skip


def _version(name: str, what: str) -> CheckLine:
    """A sentence instead of a version says why libvirtd has not told it."""
    if name != "virt_type" and not what[:1].isdigit():
        return CheckLine(
            topic="versions", ok=False, text=f"the version of {name} is not known: {what}",
            remedy="ask again; if it stays so, restart libvirtd on that node (guests run on)",
        )  # fmt: skip
    return CheckLine(topic="versions", text=f"{name} {what}", same=what)


def _line(context: ssl.SSLContext, node: str, address: str) -> CheckLine:
    try:
        with socket.create_connection((address, PORT), ASK_S) as plain:
            plain.settimeout(ASK_S)
            with context.wrap_socket(plain, server_hostname=node) as line:
                shown = line.getpeercert() or {}
                line.settimeout(0.2)
                refused = _refused(line)
    except ssl.SSLCertVerificationError as error:
        return _fault(node, f"shows a certificate that is not good: {error.verify_message}")
    except OSError as error:
        return _fault(node, f"cannot be reached: {error.strerror or error}")
    if refused:
        return _fault(node, "does not take this node's certificate")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
    days = (ends - datetime.now(UTC)).days
    if days < SOON_DAYS:
        return _fault(node, f"has a certificate that ends on {ends:%Y-%m-%d}, in {days} days")
    return CheckLine(topic=TOPIC, text=f"libvirtd of {node} answers; its certificate is good until {ends:%Y-%m-%d}")


def _refused(line: ssl.SSLSocket) -> bool:
    """With TLS 1.3 a server that does not want the client's certificate says so after the handshake."""
    try:
        return line.recv(1) == b""
    except TimeoutError:
        return False  # it waits for a request, as it should
    except OSError:
        return True


def _fault(node: str, why: str) -> CheckLine:
    return CheckLine(
        topic=TOPIC, ok=False, text=f"libvirtd of {node} {why}",
        remedy=f"on {node}: does libvirtd run with listen_tls and the cluster's certificates? Restart it (guests run "
        "on); a node with foreign certificates joins anew",
    )  # fmt: skip
