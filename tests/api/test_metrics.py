"""Metrics have the families, types and labels PVC has (metrics.tsv), and tell what is so."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2

from .fake_compute import definition
from .rig import Api, running

FAMILIES = {
    name: (kind, labels.split(",") if labels else [])
    for name, kind, labels in (
        line.split("\t")
        for line in (Path(__file__).parent / "metrics.tsv").read_text().splitlines()
        if not line.startswith("#")
    )
}
SAMPLE = re.compile(r'(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+]+)')


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found.append((match[1], dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")), float(match[3])))
    return found


def test_the_families_are_pvcs(api: Api, client: httpx2.Client) -> None:
    client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "metric", "size": "1G"})
    made = client.post("/vm", data={"xml": definition("metric", disk="vms/metric"), "user_tags": "web"})
    assert made.status_code == 200, made.text
    with httpx2.Client(base_url=f"{api.url}/api/v1") as nobody:
        answer = nobody.get("/metrics")
        parts = "".join(nobody.get(f"/metrics/{part}").text for part in ("health", "resource", "ceph", "zookeeper"))
    assert parts == answer.text
    ours = "".join(line for line in parts.splitlines(keepends=True) if "pvc_" in line)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    told = re.findall(r"^# TYPE (\w+) (\w+)$", ours, re.MULTILINE)
    assert dict(told) == {name: kind for name, (kind, _) in FAMILIES.items()} and len(told) == len(FAMILIES)
    found = samples(ours)
    for name, labels, _ in found:
        assert list(labels) == FAMILIES[name][1], name
    lines = [line for line in parts.splitlines() if not line.startswith("#")]
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)


def test_what_they_tell(client: httpx2.Client) -> None:
    client.post("/vm", data={"xml": definition("gauged").replace("bench", 'a "quoted" \\ word'), "user_tags": "web"})
    found = {(name, *labels.values()): value for name, labels, value in samples(client.get("/metrics").text)}
    assert found["pvc_nodes",] == 1 and found["pvc_vms",] == len(client.get("/vm").json())
    assert found["pvc_node_host_cpus", "hv1"] == 8 and found["pvc_vm_memory", "gauged"] == 2048
    assert found["pvc_vm_tags", "gauged", "web"] == 1 and found["pvc_vm_state", "gauged", "stop"] == 1
    assert found["pvc_vm_description", "gauged", r"a \"quoted\" \\ word"] == 1
    assert found["pvc_node_total_memory", "hv1"] == 65536


def test_zookeeper_under_the_names_of_its_own_exporter(client: httpx2.Client) -> None:
    text = client.get("/metrics/zookeeper").text
    found = {(name, *labels.items()): value for name, labels, value in samples(text)}
    server = ("server", "hv1")
    assert found["znode_count", server] == 1234 and found["avg_latency", server] == 0.5
    assert found["server_state", server, ("state", "leader")] == 1
    assert found["readlatency", server, ("quantile", "0.5")] == 1
    assert found["readlatency", server, ("quantile", "0.999")] == 7
    assert (found["readlatency_count", server], found["readlatency_sum", server]) == (99, 120)
    assert found["zookeeper_up", server] == 1 and found["zookeeper_up", ("server", "hv2")] == 0
    assert "# TYPE readlatency summary" in text and "# TYPE znode_count gauge" in text and "version" not in text


def test_ceph_tells_its_own_or_why_not(api: Api, client: httpx2.Client) -> None:
    assert client.get("/metrics/ceph").text.endswith("ceph_health_status 0.0\n")
    api.rig.node.nodes_answer = False
    try:
        answer = client.get("/metrics/ceph")
        assert answer.status_code == 400 and "module prometheus is off" in answer.json()["message"]
        whole = client.get("/metrics")
        assert whole.status_code == 200 and "pvc_nodes" in whole.text and "ceph_health_status" not in whole.text
    finally:
        api.rig.node.nodes_answer = True


def test_open_with_a_key_or_not_there(api: Api, tmp_path: Path) -> None:
    with running(api.rig, tmp_path, metrics="key") as kept, kept.client(key="") as nobody:
        assert nobody.get("/metrics/health").status_code == 401
        assert nobody.get("/metrics", headers={"Authorization": "Bearer nobody.knows"}).status_code == 401
        key = api.rig.services.keys.add("prometheus", "read-only")
        api.rig.keeper.settle()
        assert nobody.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert nobody.get("/metrics", headers={"X-Api-Key": key}).status_code == 200
        assert nobody.get("/health").status_code == 200, "what else is open stays so"
    with running(api.rig, tmp_path, metrics="off") as without, without.client() as client:
        assert client.get("/metrics").status_code == 404
