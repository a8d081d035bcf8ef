"""/sriov/*: what a cluster without such NICs answers, and what is asked of one that has them."""

from __future__ import annotations

import httpx2
import pytest

from .rig import FUNCTIONS, Api, FunctionsPlugin


def test_a_cluster_without_the_plugin_has_no_functions(client: httpx2.Client) -> None:
    assert "/sriov/pf" in client.get("/sriov").json()["message"]
    for path in ("/sriov/pf/hv1", "/sriov/vf/hv1"):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.json() == []
    for path in ("/sriov/pf", "/sriov/vf"):
        assert client.get(path, params={"node": "hv1"}).json() == []
        assert client.get(path).status_code == 400
        assert client.get(path, params={"node": "hv9"}).status_code == 404
    assert client.get("/sriov/vf/hv1/ens1f0v0").status_code == 404


@pytest.mark.parametrize("wrong", [{"vlan_id": "5000"}, {"link_state": "up"}, {"trust": "perhaps"}])
def test_wrong_settings_name_the_field(client: httpx2.Client, wrong: dict[str, str]) -> None:
    answer = client.put("/sriov/vf/hv1/ens1f0v0", params=wrong)
    assert answer.status_code == 400 and next(iter(wrong)) in answer.text


def test_setting_where_no_plugin_can_is_refused_in_words(client: httpx2.Client) -> None:
    answer = client.put("/sriov/vf/hv1/ens1f0v0", params={"trust": "true"})
    assert answer.status_code == 400 and "no plugin of this cluster can do that" in answer.json()["message"]


def test_a_nodes_functions_are_asked_of_the_node(api: Api) -> None:
    api.rig.plugins["net_fake"], api.rig.node.actions = FunctionsPlugin({}), FUNCTIONS
    try:
        with api.client() as client:
            assert client.get("/sriov/pf/hv1").json() == FUNCTIONS["sriov_list"]["pfs"]
            assert client.get("/sriov/vf/hv1/ens1f0v0").json() == FUNCTIONS["sriov_list"]["vfs"]
            assert client.get("/sriov/vf/hv1", params={"pf": "ens1f1"}).json() == []
            assert client.get("/sriov/vf/hv1/ens1f0v9").status_code == 404
            assert client.get("/sriov/vf/hv9").status_code == 404
            assert client.put("/sriov/vf/hv1/ens1f0v0", params={"vlan_id": "5"}).status_code == 200
    finally:
        del api.rig.plugins["net_fake"]
