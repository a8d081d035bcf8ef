"""What dnsmasq is told, and what it then answers upstream: real dnsmasq, asked over DNS, in a namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_core.model.network import Network, Reservation, Subnet
from pvc_net_evpn import dnsmasq
from pvc_net_evpn.dnsmasq import Given

LAB = Network(
    vni=100, id="0f0e0d0c-0b0a-4908-8706-050403020100", name="lab", nettype="managed", domain="lab.example",
    ip4=Subnet(network="10.20.0.0/24", gateway="10.20.0.1", dhcp=True, dhcp_start="10.20.0.9", dhcp_end="10.20.0.99"),
    ip6=Subnet(network="fd20::/64", gateway="fd20::1"),
    reservations=(Reservation(mac="52:54:00:00:00:09", address="10.20.0.5", hostname="db"),),
)  # fmt: skip
OTHER = replace(LAB, vni=101, id="1f0e0d0c-0b0a-4908-8706-050403020100", name="two", domain="two.example",
                ip4=Subnet(network="10.21.0.0/16", gateway="10.21.0.1"), ip6=Subnet(), reservations=())  # fmt: skip
LEASES = {100: [Given(address="10.20.0.50", mac="52:54:00:00:00:01", hostname="web")]}


def test_reverse_zones_end_on_whole_labels() -> None:
    assert dnsmasq.reverse_zones(LAB) == ["0.20.10.in-addr.arpa", "0.0.0.0.0.0.0.0.0.0.0.0.0.2.d.f.ip6.arpa"]
    odd = replace(LAB, ip4=Subnet(network="10.20.16.0/20"), ip6=Subnet())
    assert dnsmasq.reverse_zones(odd) == ["20.10.in-addr.arpa"]


@pytest.mark.parametrize("ip4", [LAB.ip4, Subnet()])
@pytest.mark.parametrize("ip6", ["", "fd20::/64", "fd20::/112", "fd20::/125"])
def test_what_it_is_told_dnsmasq_understands(tmp_path: Path, ip4: Subnet, ip6: str) -> None:
    subnet = Subnet(network=ip6, gateway="fd20::1") if ip6 else Subnet()
    options = {
        "boot_file": "pxelinux.0",
        "ntp_servers": "10.20.0.7",
        "dhcp_options": "option:tftp-server,10.20.0.5;150,10.20.0.5",
    }
    network = replace(LAB, ip4=ip4, ip6=subnet, options=options if ip4.network else {}, name_servers=("10.0.0.53",))
    text = dnsmasq.config(network, tmp_path, mtu=1450, script=Path("/bin/true"), tftp_root=str(tmp_path))
    (tmp_path / "conf").write_text(text)
    told = subprocess.run(["dnsmasq", "--test", f"--conf-file={tmp_path / 'conf'}"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr + text
    assert ("ra-stateless" in text) == (ip6 == "fd20::/64" and bool(ip4.network))
    assert ("dhcp-option=option:ntp-server,10.20.0.7" in text) == bool(ip4.network)


def test_known_leases_are_in_the_words_of_a_lease_file() -> None:
    six = Given(address="fd20::50", mac="", hostname="six", expires_s=9, client="00:01:02", iaid="77")
    four = Given(address="10.20.0.50", mac="52:54:00:00:00:01", expires_s=5)
    lines = dnsmasq.known_leases(LAB, [four, six]).splitlines()
    assert lines[0] == "5 52:54:00:00:00:01 10.20.0.50 * *"
    assert (
        lines[1] == "duid 00:02:00:00:7e:d9:0f:0e:0d:0c:0b:0a:49:08:87:06" and lines[2] == "9 77 fd20::50 six 00:01:02"
    )


@pytest.mark.system
class TestUpstream:
    """The server asked from its own namespace; `dig` is not needed: busybox asks, and AXFR is written by hand."""

    @pytest.fixture
    def where(self) -> Iterator[str]:
        name = f"pvcdns{id(self) % 100_000}"
        folder = Path(tempfile.mkdtemp(prefix="pvc-dns-"))
        folder.chmod(0o755)
        _do("ip", "netns", "add", name)
        for words in (("link", "set", "lo", "up"), ("addr", "add", "10.0.0.250/32", "dev", "lo"),
                      ("addr", "add", "10.0.0.9/32", "dev", "lo")):  # fmt: skip
            _do("ip", "-n", name, *words)
        text = dnsmasq.aggregate([LAB, OTHER], folder, address="10.0.0.250", name="ns.example", transfer=["10.0.0.9"])
        (folder / dnsmasq.NAMES).write_text(dnsmasq.aggregate_names([LAB, OTHER], LEASES))
        (folder / "conf").write_text(text.replace("except-interface=lo\n", ""))
        program = subprocess.Popen(
            ["ip", "netns", "exec", name, "dnsmasq", "--user=root", f"--conf-file={folder / 'conf'}"]
        )
        yield name
        program.terminate()
        program.wait(10)
        _do("ip", "netns", "del", name)
        shutil.rmtree(folder)

    def test_it_answers_for_all_networks_forward_and_reverse(self, where: str) -> None:
        assert "10.20.0.50" in asked(where, "web.lab.example")
        assert "10.20.0.5" in asked(where, "db.lab.example") and "10.21.0.1" in asked(where, "gateway.two.example")
        assert "web.lab.example" in asked(where, "10.20.0.50") and "gateway.lab.example" in asked(where, "fd20::1")
        assert "lab.example" not in asked(where, "nobody.lab.example").partition("Name:")[2]

    def test_whole_zones_are_for_those_that_are_named(self, where: str) -> None:
        asked(where, "web.lab.example")
        assert b"\x03web" in transferred(where, "10.0.0.9") and b"\x02db" in transferred(where, "10.0.0.9")
        assert b"\x03web" not in transferred(where, "10.0.0.250")


def asked(where: str, name: str) -> str:
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        told = subprocess.run(
            ["ip", "netns", "exec", where, "busybox", "nslookup", name, "10.0.0.250"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        if "Name:" in told or "name =" in told or "NXDOMAIN" in told:
            return told
        time.sleep(0.2)
    return ""


AXFR = """
import socket, struct, sys
name = b"".join(bytes([len(word)]) + word.encode() for word in "lab.example".split(".")) + b"\\0"
ask = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + name + struct.pack("!2H", 252, 1)
with socket.create_connection(("10.0.0.250", 53), 5, source_address=(sys.argv[1], 0)) as line:
    line.settimeout(3)
    line.sendall(struct.pack("!H", len(ask)) + ask)
    try:
        while piece := line.recv(65535):
            sys.stdout.buffer.write(piece)
    except TimeoutError:
        pass
"""
"""RFC 5936: a question of type 252 over TCP."""


def transferred(where: str, source: str) -> bytes:
    argv = ["ip", "netns", "exec", where, "python3", "-c", AXFR, source]
    return subprocess.run(argv, capture_output=True, check=False).stdout


def _do(*argv: str) -> None:
    subprocess.run(argv, check=True)
