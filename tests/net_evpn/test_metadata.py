"""The metadata service over HTTP: who asks is told about himself, in both forms, and nobody else anything."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pvc_core.contracts.plugin import GuestFacts
from pvc_core.model.network import Network, Subnet
from pvc_core.model.vm import NicSpec
from pvc_net_evpn.dnsmasq import host_label
from pvc_net_evpn.metadata import Asker, Metadata

MAC = "52:54:00:00:00:01"
USER_DATA = "#cloud-config\npackages: [nginx]\n"


class Service:
    """On loopback, where every 127.0.0.x may ask; 127.0.0.1 is guest web's."""

    def __init__(self) -> None:
        nic = NicSpec(kind="bridge", mac=MAC, source="vmbr100", network="100")
        self.guest = GuestFacts(uuid="f3e00da4", name="Web_1", profile="small", user_data=USER_DATA, nics=(nic,))
        self.network = Network(
            vni=100, id="n1", name="lab", nettype="managed", domain="lab.local", ip4=Subnet(network="127.0.0.0/24")
        )
        self.served = Metadata(self._look, ("127.0.0.1", 0))
        self.served.start()

    def get(self, path: str, *, method: str = "GET", source: str = "127.0.0.1") -> tuple[int, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=10, source_address=(source, 0))
        try:
            client.request(method, path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        finally:
            client.close()

    def _look(self, address: str) -> Asker | None:
        if address != "127.0.0.1":
            return None
        return Asker(guest=self.guest, network=self.network, address=address, mac=MAC)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.served.stop()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/latest/meta-data/instance-id", "f3e00da4"),
        ("/latest/meta-data/local-hostname", "web-1.lab.local"),
        ("/2009-04-04/meta-data/local-ipv4", "127.0.0.1"),
        ("/latest/meta-data/profile", "small"),
        (f"/latest/meta-data/network/interfaces/macs/{MAC}/mac", MAC),
        ("/latest/user-data", USER_DATA),
        ("/nocloud/user-data", USER_DATA),
        ("/nocloud/meta-data", "instance-id: f3e00da4\nlocal-hostname: web-1.lab.local\n"),
    ],
)
def test_a_guest_is_told_about_itself(service: Service, path: str, said: str) -> None:
    assert service.get(path) == (200, said)


def test_directories_are_listed_as_ec2_lists_them(service: Service) -> None:
    assert service.get("/latest/")[1].split() == ["meta-data/", "dynamic/", "user-data"]
    assert service.get("/latest/meta-data/network/interfaces/macs/")[1] == f"{MAC}/"
    assert 'macaddress: "52:54:00:00:00:01"' in service.get("/nocloud/network-config")[1]
    assert service.get("/latest/api/token", method="PUT")[0] == 200


def test_others_and_other_paths_get_nothing(service: Service) -> None:
    assert service.get("/latest/user-data", source="127.0.0.2")[0] == 404
    for path in ("/latest/nope", "/latest/meta-data/instance-id/more", "/nocloud/../user-data"):
        assert service.get(path)[0] == 404
    service.guest = GuestFacts(uuid="u", name="plain")
    assert service.get("/latest/user-data")[0] == 404


def test_it_stops_and_starts_again(service: Service) -> None:
    service.served.stop()
    service.served.stop()
    service.served.start()
    assert service.get("/latest/meta-data/name") == (200, "Web_1")


@pytest.mark.parametrize(
    ("name", "label"),
    [("Web_1", "web-1"), ("a.b", "a-b"), ("x" * 100, "x" * 63), (f"{'x' * 62}__y", "x" * 62), ("9", "9")],
)
def test_a_guest_has_one_host_name_which_may_be_one(service: Service, name: str, label: str) -> None:
    """The same by DHCP (router.py) and by metadata: no label has more than 63 characters, or ends with a dash."""
    service.guest = replace(service.guest, name=name)
    assert service.get("/latest/meta-data/hostname") == (200, f"{label}.lab.local")
    assert host_label(name) == label
