"""Metrics have the families, types and labels PVC has (metrics.tsv), and tell what is so."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2

from .fake_compute import definition
from .rig import Api

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
        parts = nobody.get("/metrics/health").text + nobody.get("/metrics/resource").text
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    told = re.findall(r"^# TYPE (\w+) (\w+)$", answer.text, re.MULTILINE)
    assert dict(told) == {name: kind for name, (kind, _) in FAMILIES.items()} and len(told) == len(FAMILIES)
    assert re.findall(r"^# TYPE (\w+)", parts, re.MULTILINE) == [name for name, _ in told]
    found = samples(answer.text)
    for name, labels, _ in found:
        assert list(labels) == FAMILIES[name][1], name
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)


def test_what_they_tell(client: httpx2.Client) -> None:
    client.post("/vm", data={"xml": definition("gauged").replace("bench", 'a "quoted" \\ word'), "user_tags": "web"})
    found = {(name, *labels.values()): value for name, labels, value in samples(client.get("/metrics").text)}
    assert found["pvc_nodes",] == 1 and found["pvc_vms",] == len(client.get("/vm").json())
    assert found["pvc_node_host_cpus", "hv1"] == 8 and found["pvc_vm_memory", "gauged"] == 2048
    assert found["pvc_vm_tags", "gauged", "web"] == 1 and found["pvc_vm_state", "gauged", "stop"] == 1
    assert found["pvc_vm_description", "gauged", r"a \"quoted\" \\ word"] == 1
    assert found["pvc_node_total_memory", "hv1"] == 65536
