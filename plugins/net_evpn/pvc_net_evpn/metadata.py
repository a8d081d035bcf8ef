"""The metadata service at 169.254.169.254: what a guest may know of itself, for cloud-init (EC2 and NoCloud).

A guest is known by the network its packet came from (the firewall lets only addresses of that network in) and by the
lease of its address, which names the MAC; nobody lists VMs for it. Whose lease it is, router.py says.

EC2's paths: docs.aws.amazon.com, "Instance metadata"; NoCloud's: cloudinit.readthedocs.io, datasource NoCloud, with
`seedfrom: http://169.254.169.254/nocloud/`.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from pvc_core.contracts.plugin import GuestFacts
from pvc_core.model.network import Network
from pvc_net_evpn.dnsmasq import host_label

ADDRESS = ("169.254.169.254", 80)
REQUEST_S, AT_ONCE = 5.0, 64
STOP_S = 0.1
"""So long its end may take: the next primary waits for it."""
TOKEN = "pvc"
"""EC2's version 2 wants one first. It guards against forwarders inside the guest; any is as good here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, as it is known."""

    guest: GuestFacts
    network: Network
    address: str
    mac: str


Look = Callable[[str], Asker | None]
"""Who has this address; None when it is nobody's."""


class Metadata:
    """Serves from `start` to `stop`."""

    def __init__(self, look: Look, address: tuple[str, int] = ADDRESS) -> None:
        self._look, self._address = look, address
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The one it listens on; 0 while it does not."""
        return self._server.server_address[1] if self._server else 0

    def start(self) -> None:
        """It serves already: fine. Raises OSError."""
        if self._server is None:
            self._server = _Server(self._address, self._look)
            serve = partial(self._server.serve_forever, STOP_S)
            threading.Thread(target=serve, name="net_evpn-metadata", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = AT_ONCE

    def __init__(self, address: tuple[str, int], look: Look) -> None:
        self.look, self._room = look, threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """More at once than there is room for are closed: guests must not exhaust the daemon."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A guest that breaks off is nobody's fault."""

    def server_bind(self) -> None:
        """Without the look-up of a host name that http.server does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "metadata", self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout: ClassVar[float] = REQUEST_S
    server_version, sys_version = "pvc", ""

    def do_GET(self) -> None:
        asker = self.server.look(self.client_address[0])
        if asker is None:
            self._answer(404, "this address belongs to no virtual machine of the cluster\n")
            return
        found = answer(self.path.partition("?")[0], asker)
        self._answer(200, found) if found is not None else self._answer(404, "there is no such path\n")

    def do_PUT(self) -> None:
        token = self.path.endswith("/api/token")
        self._answer(200, TOKEN) if token else self._answer(404, "there is no such path\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Guests fill no log."""

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def answer(path: str, asker: Asker) -> str | None:
    """What stands at `path`; a directory lists what is in it. None when there is nothing."""
    words = [word for word in path.split("/") if word]
    if not words:
        return "latest\n"
    tree: Any = _nocloud(asker) if words[0] == "nocloud" else _ec2(asker)
    for word in words[1:]:
        tree = tree.get(word) if isinstance(tree, Mapping) else None
    if isinstance(tree, Mapping):
        return "\n".join(f"{name}/" if isinstance(below, Mapping) else name for name, below in tree.items())
    return tree


def _ec2(asker: Asker) -> dict[str, Any]:
    guest, subnet = asker.guest, asker.network.ip4
    host = _host_name(asker)
    nic = {
        "device-number": "0",
        "local-hostname": host,
        "local-ipv4s": asker.address,
        "mac": asker.mac,
        "subnet-ipv4-cidr-block": subnet.network,
    }
    meta = {
        "hostname": host,
        "instance-id": guest.uuid,
        "local-hostname": host,
        "local-ipv4": asker.address,
        "mac": asker.mac,
        "name": guest.name,
        "profile": guest.profile,
        "network": {"interfaces": {"macs": {asker.mac: nic}}},
    }
    identity = {"document": json.dumps({"instanceId": guest.uuid, "privateIp": asker.address, "name": guest.name})}
    tree: dict[str, Any] = {"meta-data": meta, "dynamic": {"instance-identity": identity}}
    return {**tree, "user-data": guest.user_data} if guest.user_data else tree


def _nocloud(asker: Asker) -> dict[str, Any]:
    guest = asker.guest
    return {
        "meta-data": f"instance-id: {guest.uuid}\nlocal-hostname: {_host_name(asker)}\n",
        "user-data": guest.user_data or "#cloud-config\n{}\n",
        "vendor-data": "",
        "network-config": _network_config(asker),
    }


def _network_config(asker: Asker) -> str:
    """Version 2: every NIC by its MAC, by DHCP (cloudinit.readthedocs.io, Networking Config Version 2)."""
    lines = ["version: 2", "ethernets:"]
    for number, nic in enumerate(asker.guest.nics):
        lines += [f"  nic{number}:", "    match:", f'      macaddress: "{nic.mac}"', "    dhcp4: true"]
        if nic.mac == asker.mac and asker.network.ip6.network:
            lines.append("    dhcp6: true")
    return "\n".join(lines) + "\n"


def _host_name(asker: Asker) -> str:
    """As DHCP and DNS have it."""
    label = host_label(asker.guest.name)
    return f"{label}.{asker.network.domain}" if asker.network.domain else label
