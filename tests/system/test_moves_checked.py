"""What is looked at before a guest moves, how it travels, and how it is called off: on real nodes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import LabError, guests
from lab.guest_xml import guest_xml
from tests.lab_fixture import RunningLab

pytest_plugins = ["tests.lab_fixture"]
pytestmark = [pytest.mark.system, pytest.mark.slow]
VM = "checked"
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
"""What a hungry guest (lab/guest/hungry) fills its memory with."""
TAP = (
    "import socket,sys,time\n"
    "s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3)); s.bind((sys.argv[1],0)); s.settimeout(0.2)\n"
    "found=0; size=0; end=time.monotonic()+float(sys.argv[3])\n"
    "while time.monotonic()<end:\n"
    "  try: data=s.recv(65536)\n"
    "  except TimeoutError: continue\n"
    "  size+=len(data); found+=data.count(sys.argv[2].encode())\n"
    "print(size,found)\n"
)


@pytest.fixture(scope="module")
def guest(lab3: RunningLab) -> Iterator[RunningLab]:
    lab3.guest(VM, node="hv1", flavour="hungry")
    yield lab3
    lab3.remove_guest(VM)


def test_a_node_that_its_limit_excludes_is_refused(guest: RunningLab) -> None:
    guest.api.post(f"/vm/{VM}/meta", limit="hv1,hv2")
    with pytest.raises(LabError, match="hv3"):
        guest.api.post(f"/vm/{VM}/node", action="move", node="hv3")
    guest.api.post(f"/vm/{VM}/meta", limit="hv1,hv2,hv3")


def test_called_off_in_the_middle_it_stays_and_counts_on(guest: RunningLab) -> None:
    """libvirt's own progress is the VM's status meanwhile."""
    source, target = _sides(guest)
    before = guest.ticks(VM)
    guest.exec(source, "virsh", "migrate-setspeed", VM, "--bandwidth", "1")
    guest.api.post(f"/vm/{VM}/node", action="migrate", node=target, force_live="true")
    guest.eventually(lambda: re.search(r"[1-9]\d* % copied", _says(guest)), "it tells how far it is")
    guest.api.post(f"/vm/{VM}/node", action="move", node=source)
    guest.eventually(lambda: _says(guest) == f"running on {source}", "it is called off")
    guest.eventually(lambda: guest.ticks(VM) > before + 1, "it counts on")
    guest.exec(source, "virsh", "migrate-setspeed", VM, "--bandwidth", "8796093022207")
    with pytest.raises(LabError):
        guest.exec(target, "pgrep", "-f", f"qemu-system.*guest={VM},")


def test_memory_travels_encrypted_and_on_the_cluster_network_only(guest: RunningLab) -> None:
    """What the guest has in its memory is seen on no network, though megabytes pass on one."""
    source, target = _sides(guest)
    with ThreadPoolExecutor() as threads:
        taps = {
            device: threads.submit(guest.exec, source, "python3", "-c", TAP, device, SECRET, "30")
            for device in ("eth0", "eth1", "eth2")
        }
        time.sleep(3.0)
        guest.exec(source, "bash", "-c", f"echo {SECRET} > /dev/udp/{target}/9")
        guest.api.post(f"/vm/{VM}/node", action="move", node=target, wait="true")
    seen = {device: tuple(map(int, tap.result().split())) for device, tap in taps.items()}
    assert seen["eth0"][1] == seen["eth2"][1] == 0, seen
    assert 1 <= seen["eth1"][1] <= 2, "the plain words that show that the tap hears, and their echo by ICMP; no more"
    assert seen["eth1"][0] > 4 << 20, "the cluster network carried it"
    assert max(seen["eth0"][0], seen["eth2"][0]) < 1 << 20, "and no other did"


def test_libvirt_answers_nobody_without_the_clusters_certificate(guest: RunningLab) -> None:
    source, target = _sides(guest)
    with pytest.raises(LabError, match=r"(?i)refused|unable to connect"):
        guest.exec(source, "virsh", "-c", f"qemu+tcp://{target}/system", "list")
    stranger = "/tmp/stranger"
    subject = ["-subj", f"/CN={source}", "-days", "1", "-nodes", "-newkey", "rsa:2048", "-x509"]
    guest.exec(source, "mkdir", "-p", stranger)
    files = ["-keyout", f"{stranger}/clientkey.pem", "-out", f"{stranger}/clientcert.pem"]
    guest.exec(source, "openssl", "req", *subject, *files)
    guest.exec(source, "cp", "/etc/pki/CA/cacert.pem", f"{stranger}/cacert.pem")
    with pytest.raises(LabError, match=r"(?i)certificate|closed|input/output|recv"):
        guest.exec(source, "virsh", "-c", f"qemu+tls://{target}/system?pkipath={stranger}", "list")
    assert VM in guest.exec(target, "virsh", "-c", f"qemu+tls://{source}/system", "list")


def test_a_cpu_the_target_has_not_is_refused_in_words(lab3: RunningLab) -> None:
    """A guest that was started with more than its own node could give (check="none") finds no other."""
    name = "picky"
    feature = '<feature policy="require" name="avx512f"/>'
    model = '<model fallback="forbid">qemu64</model>'
    cpu = f'<cpu mode="custom" match="exact" check="none">{model}{feature}</cpu>'
    guests.ensure_volume(lab3.api, guests.Wish(name=name))
    xml = guest_xml(name, pool="vms", volume=f"{name}-root").replace("<features>", f"{cpu}<features>")
    words = {"xml": xml, "node": "hv1", "selector": "mem", "autostart": "false", "migration_method": "live"}
    lab3.api.call("POST", "/vm", {}, form=words)
    try:
        lab3.api.post(f"/vm/{name}/state", state="start")
        lab3.eventually(lambda: lab3.ticks(name) > 1, "it runs", deadline_s=180)

        def refused() -> bool:
            """Asked again where the store was slow to answer."""
            with pytest.raises(LabError) as told:
                lab3.api.post(f"/vm/{name}/node", action="move", node="hv2", wait="true")
            return re.search(r"CPU.*avx512f", str(told.value)) is not None

        lab3.eventually(refused, "it is refused for the CPU's sake", deadline_s=60)
        before = lab3.ticks(name)
        lab3.eventually(lambda: lab3.ticks(name) > before, "it runs on")
        assert lab3.api.get(f"/vm/{name}")[0]["node"] == "hv1"
    finally:
        lab3.remove_guest(name)


def _sides(lab: RunningLab) -> tuple[str, str]:
    source = str(lab.api.get(f"/vm/{VM}")[0]["node"])
    return source, next(node for node in ("hv2", "hv1") if node != source)


def _says(lab: RunningLab) -> str:
    return str(lab.api.get(f"/vm/{VM}")[0]["status"])
