"""What an operator leans on, on three real nodes: the check finds what is broken and says what helps; a backup is one
moment; a restore loses nobody's guest; a record of a newer PVC is left alone.
"""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab import LabError, network, node
from pvc_core.reconcile import units

if TYPE_CHECKING:
    from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]

NEWER = """
import sys
from pvc_core.config import load
from pvc_core.daemon.opening import open_store
store = open_store(load("/etc/pvc/pvc.yaml"), "node")
key = "/pvc/state/vm-wanted/" + sys.argv[1]
old = store.get(key)
if sys.argv[2] == "newer":
    assert old.value.startswith(b'{"schema":1,')
    store.put(key, old.value.replace(b'{"schema":1,', b'{"schema":2,', 1), if_version=None)
else:
    store.put(key, old.value.replace(b'{"schema":2,', b'{"schema":1,', 1), if_version=None)
print(store.get(key).version)
store.close()
"""


def findings(lab: RunningLab, topic: str = "") -> list[dict[str, Any]]:
    """Lines that need somebody; each has its remedy."""
    found = lab.api.call("GET", "/cluster/check", {}, deadline_s=120)
    wrong = [line for line in found["lines"] if not line["ok"]]
    assert found["ok"] == (not wrong) and all(line["remedy"] for line in wrong)
    return [line for line in wrong if topic in ("", line["topic"])]


def found(lab: RunningLab, topic: str, *words: str, node: str | None = None) -> bool:
    """Whether one line of that topic has all these words."""
    return any(
        all(word in line["text"] for word in words) and node in (None, line["node"]) for line in findings(lab, topic)
    )


def well(lab: RunningLab) -> None:
    """The check of a machine with little disk left names that, rightly; nothing else is wrong."""
    wrong: list[str] = []

    def nothing() -> bool:
        found_ = [one for one in findings(lab) if one["topic"] != "disk space"]
        wrong[:] = [f"{one['node']} {one['topic']}: {one['text']}" for one in found_]
        return not wrong

    end = time.monotonic() + 150
    while not nothing():
        assert time.monotonic() < end, wrong
        time.sleep(0.5)


def test_a_cluster_that_is_well_is_called_well_through_every_api(lab3: RunningLab) -> None:
    well(lab3)
    for name in lab3.coordinators:
        lines = lab3.api_of(name).call("GET", "/cluster/check", {}, deadline_s=120)["lines"]
        topics = {line["topic"] for line in lines}
        assert topics >= {
            "nodes", "quorum", "clocks", "names", "MTU", "certificates", "pvc.yaml", "versions", "records",
            "disk space", "guard", "libvirt TLS",
        }  # fmt: skip
        assert "packets of full size arrive on 18 of 18 ways between nodes" in {line["text"] for line in lines}
    lab3.eventually(
        lambda: "all is well" in lab3.pvc("cluster", "check").stdout or bool(findings(lab3, "disk space")), "it is said"
    )


@contextmanager
def narrow(lab: RunningLab, name: str, net: network.Network) -> Iterator[None]:
    """The switch's port of one cable carries no large packets."""
    switch = lab._lab.needs("switch")

    def set_mtu(size: int) -> None:
        node.run_inside(switch, ["ip", "link", "set", net.port(name), "mtu", str(size)], "on the switch")

    set_mtu(1300)
    yield
    set_mtu(network.MTU)


def test_a_cable_that_loses_large_packets_is_named_by_network_and_both_ends(lab3: RunningLab) -> None:
    with narrow(lab3, "hv2", network.STORAGE):
        wrong = findings(lab3, "MTU")
        assert {tuple(sorted((line["node"], line["text"].split()[1]))) for line in wrong} == {
            ("hv1", "hv2"),
            ("hv2", "hv3"),
        }
        assert all("on storage: packets of 1500 bytes do not arrive, small ones do" in line["text"] for line in wrong)
    well(lab3)


def test_a_silent_server_and_a_silent_node_are_a_line_each(lab3: RunningLab) -> None:
    lab3.stop("hv3", "pvc-zookeeper")
    assert found(lab3, "quorum", "its ZooKeeper server is silent", node="hv3")
    assert found(lab3, "quorum", "2 of 3 servers serve, 2 are needed: the next one that fails")
    lab3.start("hv3", "pvc-zookeeper")
    well(lab3)
    lab3.stop("hv2", "pvcnoded")
    assert found(lab3, "nodes", "does not answer", node="hv2")
    why = lab3.api.call("GET", "/node/hv2/why", {}, deadline_s=60)["lines"]
    assert "it could not be asked itself" in why[-1]
    lab3.start("hv2", "pvcnoded")
    well(lab3)
    why = lab3.api.call("GET", "/node/hv2/why", {}, deadline_s=60)["lines"]
    assert any("its connection to the store stands" in line for line in why)
    assert any("the store heard the heartbeat" in line for line in why)


def test_a_pvc_yaml_that_differs_is_named_with_both_values(lab3: RunningLab) -> None:
    file = lab3._lab.node_dir("hv2") / "etc/pvc/pvc.yaml"
    text = file.read_text()
    file.write_text(text.replace("10.72.0.250/24", "10.72.0.251/24"))
    try:
        assert found(lab3, "pvc.yaml", "host_networks.storage.floating", "10.72.0.250/24 (hv1, hv3)", "251/24 (hv2)")
        assert found(lab3, "pvc.yaml", "has changed since pvcnoded began", node="hv2")
        file.write_text("cluster: [")
        assert found(lab3, "pvc.yaml", "cannot be used any more", node="hv2")
    finally:
        file.write_text(text)
    well(lab3)


def test_a_foreign_certificate_is_named(lab3: RunningLab, tmp_path: Path) -> None:
    from pvc_core.founding.pki import Place, ensure_ca, ensure_node

    foreign = Place(tmp_path)
    ensure_ca(foreign, "c")
    ensure_node(foreign, "hv3", [])
    files = {name: lab3._lab.node_dir("hv3") / f"etc/pvc/pki/{name}" for name in ("node.crt", "node.key")}
    kept = {name: path.read_bytes() for name, path in files.items()}
    for name, path in files.items():
        path.write_bytes((tmp_path / name).read_bytes())
    try:
        assert found(lab3, "certificates", "is not of the cluster's authority", node="hv3")
        lab3.kill("hv3", "libvirtd")  # it does not even begin with a certificate that its authority has not signed
        lab3.eventually(lambda: found(lab3, "libvirt TLS", "libvirtd of hv3", node="hv1"), "it cannot be reached")
    finally:
        for name, path in files.items():
            path.write_bytes(kept[name])
        lab3.stop("hv3", "libvirtd")
        lab3.start("hv3", "libvirtd")
    well(lab3)


def test_a_network_narrower_on_one_node_is_named_with_both_sizes(lab3: RunningLab) -> None:
    lab3.exec("hv2", "ip", "link", "set", "brstorage", "mtu", "1300")
    try:
        assert found(lab3, "MTU", "storage has different MTUs: 1500 (hv1, hv3); 1300 (hv2)")
    finally:
        lab3.exec("hv2", "ip", "link", "set", "brstorage", "mtu", str(network.MTU))
    well(lab3)


def test_a_name_that_is_not_known_is_named_with_the_line_that_helps(lab3: RunningLab) -> None:
    hosts = lab3.root_of("hv2") / "etc/hosts"
    text = hosts.read_text()
    hosts.write_text("".join(line for line in text.splitlines(keepends=True) if line.split()[1:] != ["hv3"]))
    try:
        (line,) = [one for one in findings(lab3, "names") if one["node"] == "hv2"]  # no name server answers in a lab
        assert line["text"].startswith("the name hv3 is not known here")
        assert line["remedy"] == "put `10.71.0.13 hv3` into /etc/hosts of hv2"
    finally:
        hosts.write_text(text)
    well(lab3)


def test_a_certificate_that_has_ended_is_named(lab3: RunningLab) -> None:
    file = lab3.root_of("hv3") / "etc/pvc/pki/node.crt"
    text = file.read_text()
    file.write_text(ended(text, (lab3.root_of("hv1") / "etc/pvc/pki/ca.key").read_text()))
    try:
        assert found(lab3, "certificates", "its certificate, or the authority's, has ended on", node="hv3")
    finally:
        file.write_text(text)
    well(lab3)


def ended(certificate: str, ca_key: str) -> str:
    """The same, good until yesterday."""
    old, now = x509.load_pem_x509_certificate(certificate.encode()), datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer).public_key(old.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=9))
    made = made.not_valid_after(now - datetime.timedelta(days=1))
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    key = serialization.load_pem_private_key(ca_key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_a_disk_that_is_full_is_named(lab3: RunningLab) -> None:
    lab3.exec("hv2", "mount", "-t", "tmpfs", "-o", "size=8m", "none", "/var/log/pvc")
    try:
        lab3.exec("hv2", "sh", "-c", "head -c 8000000 /dev/zero >/var/log/pvc/full")
        assert found(lab3, "disk space", "/var/log/pvc: 9", "% full", node="hv2")
    finally:
        lab3.exec("hv2", "umount", "/var/log/pvc")
    well(lab3)


OTHERWISE = """import os, sys
if os.path.exists("/run/lab/otherwise.py"):
    exec(open("/run/lab/otherwise.py").read())
"""
OTHER = """import time
right = time.time
time.time = lambda: right() + 7.0
sys.path.insert(0, "/run/lab/other")
"""


def test_a_clock_that_is_wrong_and_another_version_are_named(lab3: RunningLab) -> None:
    """The nodes have the machine's one clock, so the daemon's own idea of it is what is moved; and it finds another
    kazoo than the others do.
    """
    shared = lab3._lab.root / "plugins/sitecustomize.py"
    shared.write_text(OTHERWISE)
    info = "/run/lab/other/kazoo-99.0.dist-info"
    lab3.exec("hv2", "mkdir", "-p", info)
    lab3.exec("hv2", "sh", "-c", f"printf 'Metadata-Version: 2.1\nName: kazoo\nVersion: 99.0\n' >{info}/METADATA")
    lab3.exec("hv2", "sh", "-c", f"cat >/run/lab/otherwise.py <<'END'\n{OTHER}END\n")
    try:
        lab3.kill("hv2", "pvcnoded")
        lab3.eventually(lambda: found(lab3, "clocks", "its clock is 7.0 s ahead", node="hv2"), "its clock is wrong")
        assert found(lab3, "versions", "kazoo differs: ", "99.0 (hv2)", "(hv1, hv3)")
    finally:
        shared.unlink()
        lab3.exec("hv2", "rm", "-r", "/run/lab/other", "/run/lab/otherwise.py")
        lab3.kill("hv2", "pvcnoded")
    well(lab3)


def test_maintenance_ends_by_itself_and_every_command_says_so_meanwhile(lab3: RunningLab) -> None:
    lab3.pvc("cluster", "maintenance", "on", "--for", "12s", "--reason", "cables")
    said = lab3.pvc("vm", "list")
    assert "in maintenance" in said.stderr and "asked for by lab" in said.stderr and said.returncode == 0
    assert lab3.api.get("/status")["maintenance_detail"]["reason"] == "cables"
    assert found(lab3, "maintenance", "ends by itself")
    lab3.eventually(lambda: lab3.api.get("/status")["maintenance"] == "false", "it has ended by itself")
    assert "maintenance" not in lab3.pvc("vm", "list").stderr


def test_a_backup_is_one_moment_while_another_client_writes_all_the_time(lab3: RunningLab) -> None:
    """Each write of the client is a whole: a VM never has one of its two tags without the other's number."""
    lab3.api.post("/vm", xml=definition("furious"))
    stop, writes = threading.Event(), [0]

    def furious() -> None:
        while not stop.is_set():
            writes[0] += 1
            lab3.api.post("/vm/furious/meta", limit="hv1,hv2" if writes[0] % 2 else "hv3", autostart="true")
            lab3.api.post("/vm/furious/tags", action="add" if writes[0] % 2 else "remove", tag="odd")

    thread = threading.Thread(target=furious)
    thread.start()
    try:
        time.sleep(0.5)
        for _ in range(10):
            data = lab3.api.get("/backup")
            vms = [vm for vm in data["records"]["vm wanted"].values() if vm["name"] == "furious"]
            assert len(vms) == 1 and data["digest"]
    finally:
        stop.set()
        thread.join()
    assert writes[0] > 10, "somebody really wrote meanwhile"
    lab3.remove_guest("furious")


def test_a_restore_brings_back_what_was_and_the_running_guest_never_stops(lab3: RunningLab, tmp_path: Path) -> None:
    lab3.guest("stays", node="hv2")
    lab3.api.post("/vm", xml=definition("gone"))
    file = tmp_path / "backup.json"
    assert lab3.pvc("cluster", "backup", str(file)).returncode == 0
    assert (file.stat().st_mode & 0o777) == 0o600
    assert "claim" not in json.loads(file.read_text())["records"]
    lab3.remove_guest("gone")
    lab3.eventually(lambda: not [vm for vm in lab3.api.get("/vm") if vm["name"] == "gone"], "it is gone")
    lab3.api.post("/vm", xml=definition("late"))
    before, pid = lab3.ticks("stays"), qemu(lab3, "hv2")
    said = lab3.pvc("cluster", "restore", "-y", str(file))
    assert "the store is in its era 2" in said.stdout, said.stderr
    lab3.eventually(lambda: {"gone", "stays"} <= set(names(lab3)) and "late" not in names(lab3), "as it was")
    lab3.eventually(lambda: lab3.ticks("stays") > before + 2, "the guest counts on")
    assert qemu(lab3, "hv2") == pid, "it is the same process"
    lab3.eventually(lambda: lab3.api.get("/vm/stays")[0]["status"] == "running on hv2", "its node has settled")
    well(lab3)
    lab3.remove_guest("gone")


def test_a_unit_that_a_plugin_needs_is_started_and_one_that_carries_guests_never_restarted(lab3: RunningLab) -> None:
    """compute_libvirt names libvirtd.service."""
    before, pid, hangs = lab3.ticks("stays"), qemu(lab3, "hv2"), lab3.units("hv2")["libvirtd"]["pid"]
    lab3.kill("hv2", "libvirtd", signal="SIGSTOP")
    try:
        lab3.eventually(lambda: "does not answer" in " ".join(why(lab3, "hv2")), "it is told that libvirtd is ill")
        time.sleep(units.LOOK_S + 3.0)
        assert lab3.units("hv2")["libvirtd"]["pid"] == hangs, "it is looked at, and left alone"
    finally:
        lab3.kill("hv2", "libvirtd", signal="SIGCONT")
    lab3.stop("hv2", "libvirtd")
    lab3.eventually(lambda: lab3.units("hv2")["libvirtd"]["state"] == "active", "pvcnoded starts it", deadline_s=90)
    lab3.eventually(lambda: "libvirtd.service was inactive; it is started" in lab3.logs("hv2", "pvcnoded"), "told")
    lab3.eventually(lambda: lab3.api.get("/vm/stays")[0]["status"] == "running on hv2", "libvirtd answers again")
    assert qemu(lab3, "hv2") == pid and lab3.ticks("stays") > before


def why(lab: RunningLab, name: str) -> list[str]:
    """Nothing while the primary is moving."""
    try:
        return list(lab.api.call("GET", f"/node/{name}/why", {}, deadline_s=60)["lines"])
    except LabError:
        return []


def test_a_restore_is_refused_while_a_node_is_silent_or_a_guest_would_be_nobodys(
    lab3: RunningLab, tmp_path: Path
) -> None:
    file = tmp_path / "backup.json"
    lab3.pvc("cluster", "backup", str(file))
    lab3.stop("hv3", "pvcnoded")
    said = lab3.pvc("cluster", "restore", "-y", str(file))
    assert said.returncode == 1 and "node hv3 is silent" in said.stderr
    lab3.start("hv3", "pvcnoded")
    well(lab3)
    said = lab3.pvc("cluster", "init", "--overwrite", "-y")
    assert said.returncode == 1 and "guest stays runs on hv2 and would be nobody's" in said.stderr
    assert "stays" in names(lab3)


def test_a_record_of_a_newer_pvc_is_left_alone_and_told(lab3: RunningLab) -> None:
    uuid = lab3.api.get("/vm/stays")[0]["uuid"]
    before, pid = lab3.ticks("stays"), qemu(lab3, "hv2")
    version = inside(lab3, "hv1", uuid, "newer")
    lab3.eventually(
        lambda: found(lab3, "records", f"does not understand vm wanted {uuid} (schema 2", node="hv2"), "it is told"
    )
    with pytest.raises(LabError, match="a newer PVC wrote"):
        lab3.api.post("/vm/stays/state", state="stop")
    lab3.kill("hv2", "pvcnoded")
    lab3.eventually(lambda: found(lab3, "records", "does not understand", node="hv2"), "the next daemon, too")
    lab3.eventually(
        lambda: any("newer PVC" in str(one["message"]) for one in lab3.api.get("/node/hv2")[0]["health_details"]),
        "the node's health says it",
    )
    assert inside(lab3, "hv1", uuid, "back") == version + 1, "nobody has written over it"
    lab3.eventually(lambda: lab3.api.get("/vm/stays")[0]["status"] == "running on hv2", "it is known again")
    assert qemu(lab3, "hv2") == pid and lab3.ticks("stays") > before
    lab3.remove_guest("stays")
    well(lab3)


def definition(name: str) -> str:
    return (
        f'<domain type="kvm"><name>{name}</name><memory unit="MiB">64</memory><vcpu>1</vcpu>'
        '<os><type arch="x86_64" machine="pc">hvm</type></os></domain>'
    )


def names(lab: RunningLab) -> list[str]:
    return [vm["name"] for vm in lab.api.get("/vm")]


def qemu(lab: RunningLab, where: str) -> str:
    return lab.exec(where, "pgrep", "-f", "qemu-system").strip()


def inside(lab: RunningLab, where: str, *argv: str) -> int:
    return int(lab.exec(where, str(PYTHON), "-c", NEWER, *argv))


PYTHON = Path(__file__).resolve().parents[2] / ".venv/bin/python"
