"""One value of a text changed, the rest as the person wrote it; and what `pvcnoded join --network` says is written."""

from __future__ import annotations

import pytest
import yaml

from pvc_core.config.sections import HostNetwork
from pvc_core.daemon.given import networks, words_of
from pvc_core.errors import NotFound
from pvc_core.founding.joining import Given
from pvc_core.founding.yamltext import merged

FLOW = (
    "# mine\nhost_networks:\n  upstream: {device: eth0, address: FILL-IN-upstream, gateway: 10.0.0.1}  # out\nuse: {}\n"
)
BLOCK = (
    "host_networks:\n  upstream:\n    device: eth0   # the first\n    address: FILL-IN-upstream\n"
    "    gateway: 10.0.0.1\n  # then\nuse: {}\n"
)


@pytest.mark.parametrize("text", [FLOW, BLOCK])
def test_all_that_is_given_of_a_network_is_written(text: str) -> None:
    """The MTU was made and then forgotten: the daemon set the device back."""
    word = "upstream=bond0,10.0.0.12/24,floating=10.0.0.250/24,gateway=10.0.0.2,mtu=9000"
    own = networks([word])
    given = Given(node="hv2", key="", result={"config": text})
    made = given.config({"upstream": "10.0.0.12/24"}, {"upstream": words_of(own["upstream"])})
    found = yaml.safe_load(made)
    assert found["use"] == {}
    upstream = {"device": "bond0", "address": "10.0.0.12/24", "floating": "10.0.0.250/24", "gateway": "10.0.0.2"}
    assert found["host_networks"] == {"upstream": {**upstream, "mtu": 9000}}


def test_what_is_there_is_changed_in_its_place() -> None:
    made = merged(BLOCK, ("host_networks", "upstream"), {"device": "eth9"})
    assert made == BLOCK.replace("eth0", "eth9")


def test_what_is_not_given_stays_as_the_coordinator_has_it() -> None:
    made = yaml.safe_load(merged(FLOW, ("host_networks", "upstream"), words_of(HostNetwork(device="eth9", mtu=1400))))
    upstream = {"device": "eth9", "address": "FILL-IN-upstream", "gateway": "10.0.0.1", "mtu": 1400}
    assert made["host_networks"]["upstream"] == upstream


def test_a_network_that_is_not_there_is_told() -> None:
    with pytest.raises(NotFound, match="no host_networks"):
        merged(FLOW, ("host_networks", "storage"), {"device": "eth2"})
