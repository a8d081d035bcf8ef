"""net_sriov as far as no function is needed: pvc.yaml, options of a network, what the kernel and the API are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from pvc_core.contracts.targets import Hostdev, Macvtap
from pvc_core.errors import Invalid, Permanent, PvcError, Refused, Retry
from pvc_core.model.network import Network, Subnet
from pvc_core.services.network_checks import HostSide, check_network
from pvc_core.testing.context import FakeContext
from pvc_net_sriov.actions import SetIn
from pvc_net_sriov.definitions import SriovDefinitions, settings
from pvc_net_sriov.driver import SriovNetworks
from pvc_net_sriov.functions import Functions
from pvc_net_sriov.notes import Held, Notes
from pvc_net_sriov.plugin import Config, NetSriov
from pvc_net_sriov.settled import Settled
from pvc_net_sriov.words import RESTING, Settings, Virtual, kernel_words, settings_of, wire

LAB = Network(vni=100, id="n1", name="lab", nettype="sriov")


def check(network: Network) -> None:
    check_network(network, SriovDefinitions(), [], HostSide(mtus={"cluster": 1500}))


def test_the_plugin_is_off_until_it_is_named_and_needs_no_nic() -> None:
    plugin = NetSriov(Config().load({}))
    assert plugin.config["devices"] == [] and plugin.network.capabilities.nic_targets == (Macvtap, Hostdev)
    assert {action.name for action in plugin.actions} == {"sriov_list", "sriov_set"}


@pytest.mark.parametrize(
    "devices",
    [
        [{"phy": "ens1f0"}],
        [{"phy": "ens1f0", "vfcount": 0}],
        [{"phy": "a/b", "vfcount": 1}],
        [{"phy": "ens1f0", "vfcount": 2}, {"phy": "ens1f0", "vfcount": 4}],
    ],
)
def test_a_bad_device_is_one_clear_error(devices: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        Config().load({"devices": devices})


@pytest.mark.parametrize(
    "options",
    [
        {"tag": "4095"},
        {"qos": "8"},
        {"attach": "bridge"},
        {"link_state": "on"},
        {"trust": "yes"},
        {"tx_rate_min": "200", "tx_rate_max": "100"},
        {"anti_spoofing": "off"},
    ],
)
def test_bad_options_are_one_clear_error(options: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        check(replace(LAB, options=options))


def test_a_vni_that_is_no_vlan_needs_a_tag() -> None:
    with pytest.raises(Invalid, match="5000 is no VLAN"):
        check(replace(LAB, vni=5000))
    for word, vlan in (("12", 12), ("untagged", 0)):
        network = replace(LAB, vni=5000, options={"tag": word})
        check(network)
        assert settings(network).vlan_id == vlan
    assert settings(LAB) == replace(RESTING, vlan_id=100)


def test_it_gives_no_addresses_and_no_gateway() -> None:
    with pytest.raises(Refused, match="lacks the capability gateway"):
        check(replace(LAB, ip4=Subnet(network="10.9.0.0/24", gateway="10.9.0.1")))


def test_the_kernel_is_told_what_differs_only() -> None:
    assert kernel_words(RESTING, RESTING) == []
    new = Settings(vlan_id=5, tx_rate_max=100, link_state="disable", spoof_check=False)
    assert kernel_words(RESTING, new) == [
        {"vlan": {"vlan": 5, "qos": 0}},
        {"rate": {"min_tx_rate": 0, "max_tx_rate": 100}},
        {"link_state": 2},
        {"spoofchk": 0},
    ]
    assert settings_of({"vlan_id": 7, "trust": None}, new) == replace(new, vlan_id=7)


def test_a_function_on_the_wire() -> None:
    one = Virtual(name="ens1f0v1", pf="ens1f0", number=1, pci="0000:65:10.2", mtu=1500, own_mac="52:54:00:00:00:01")
    body = wire(one, "")
    assert body["phy"] == "ens1f0v1" and body["mac"] == "52:54:00:00:00:01"
    assert body["pci"] == {"domain": "0000", "bus": "65", "slot": "10", "function": "2"}
    assert set(body["config"]) == {
        "vlan_id", "vlan_qos", "tx_rate_min", "tx_rate_max", "link_state", "spoof_check", "trust", "query_rss",
    }  # fmt: skip
    assert body["usage"] == {"used": "False", "domain": ""}


def test_setting_nothing_is_said_so() -> None:
    with pytest.raises(ValidationError, match="say what shall be set"):
        SetIn().load({"vf": "ens1f0v0"})


def test_notes_outlive_the_daemon(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "run")
    assert notes.networks() == {} and notes.held() == {}
    held = Held(pci="0000:65:10.2", mac="52:54:00:00:00:01", vni=100, id="n1")
    notes.hold(held)
    assert notes.note_network(100, "n1") is True and notes.note_network(100, "n1") is False
    again = Notes(tmp_path / "run")
    assert again.networks() == {100: "n1"} and again.held() == {held.pci: held}
    again.release(held.pci)
    again.forget_network(100)
    assert notes.networks() == {} and notes.held() == {}


def node(tmp_path: Path, *devices: str) -> SriovNetworks:
    context = FakeContext({"devices": [{"phy": name, "vfcount": 2, "mtu": None} for name in devices]})
    return SriovNetworks(context, Settled(context, Functions(sys=tmp_path / "sys")), Notes(tmp_path / "run"))


@pytest.mark.parametrize(
    ("devices", "error", "said"),
    [
        ((), Permanent, "divides no NIC, which network 100"),
        (("ens9",), Retry, "there is no network device ens9 on this node"),
        (("plain",), Permanent, "plain cannot be divided: it has no SR-IOV"),
    ],
)
def test_a_node_says_why_it_cannot(tmp_path: Path, devices: tuple[str, ...], error: type[PvcError], said: str) -> None:
    net = tmp_path / "sys" / "class" / "net"
    (net / "plain" / "device").mkdir(parents=True)
    driver = node(tmp_path, *devices)
    with pytest.raises(error, match=said):
        driver.ensure_network(LAB, deadline_s=5)
    assert driver.list_networks(deadline_s=5) == []
    assert driver.told({}, lambda *_: None)["vfs"] == []
