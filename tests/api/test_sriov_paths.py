"""/sriov/*: what a cluster without such NICs answers, and what is asked of one that has them."""

from __future__ import annotations

import httpx2
import pytest


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
