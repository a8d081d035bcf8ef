"""Which proof lets which guest go (design rule 6), and the arithmetic of waiting."""

from __future__ import annotations

import pytest

from pvc_core.cluster.layout import volume_id
from pvc_core.model.fence import Proof, ProofKind
from pvc_core.model.storage import Volume, VolumePhase
from pvc_core.model.verdict import KeptProof, Verdict
from pvc_core.model.view import ClusterView, Kept
from pvc_core.model.vm import Claim, Description, DiskSpec
from pvc_core.policy.proofs import Demand, Guest, guest_of, self_fenced_at_s, sufficient, watchdog_bit_at_s

ONE = Demand(rungs={"fence_ipmi": ProofKind.OFF, "storage_ceph": ProofKind.NO_WRITE})
ALL = Demand(proof="all", rungs=ONE.rungs)
WEB = Guest(name="web", pools=("vms",))


def off(rung: str = "fence_ipmi") -> KeptProof:
    proof = Proof(kind=ProofKind.OFF, node="hv1", incarnation="one", rung=rung, seen="off", how="asked")
    return KeptProof(proof=proof, by="hv2", term=2)


def no_write(pool: str) -> KeptProof:
    proof = Proof(
        kind=ProofKind.NO_WRITE, node="hv1", incarnation="one", rung="storage_ceph", seen="out", how="told", pool=pool
    )
    return KeptProof(proof=proof, by="hv2", term=2)


def verdict(*, armed: bool = True, limit_s: float = 8.0, watchdog_s: float = 0.0) -> Verdict:
    return Verdict(
        node="hv1", incarnation="one", by="hv2", term=2, why="silent", coordinators=("hv1", "hv2", "hv3"),
        armed=armed, limit_s=limit_s, watchdog_s=watchdog_s,
    )  # fmt: skip


def kept_volume(pool: str, name: str, home: str | None = None) -> tuple[str, Kept[Volume]]:
    volume = Volume(id=name, pool=pool, name=name, size_bytes=1, phase=VolumePhase.READY, home=home)
    return volume_id(pool, name), Kept(volume, 0)


def test_power_off_serves_any_guest() -> None:
    for guest in (WEB, Guest(name="diskless"), Guest(name="odd", unprovable=("a host device",))):
        assert sufficient(guest, [off()], self_fenced=False, demand=ONE).proofs == ("hv1@one@fence_ipmi",)


def test_no_proof_is_none() -> None:
    assert sufficient(WEB, [], self_fenced=True, demand=ONE).proofs == ()


def test_no_write_needs_the_self_fence_time() -> None:
    early = sufficient(WEB, [no_write("vms")], self_fenced=False, demand=ONE)
    assert early.proofs == () and "self-fence time" in early.why
    assert sufficient(WEB, [no_write("vms")], self_fenced=True, demand=ONE).proofs


def test_no_write_needs_every_pool() -> None:
    both = Guest(name="db", pools=("vms", "fast"))
    found = sufficient(both, [no_write("vms")], self_fenced=True, demand=ONE)
    assert found.proofs == () and "pool fast" in found.why
    assert len(sufficient(both, [no_write("vms"), no_write("fast")], self_fenced=True, demand=ONE).proofs) == 2


@pytest.mark.parametrize("guest", [Guest(name="diskless"), Guest(name="b26", pools=("vms",), unprovable=("a VF",))])
def test_a11_an_empty_list_and_an_unknown_source_prove_nothing(guest: Guest) -> None:
    found = sufficient(guest, [no_write("vms")], self_fenced=True, demand=ONE)
    assert found.proofs == () and "power off" in found.why


@pytest.mark.parametrize("rung", ["boot", "word", "person"])
def test_the_nodes_own_word_a_boot_and_a_person_serve_at_once(rung: str) -> None:
    assert sufficient(WEB, [off(rung)], self_fenced=False, demand=ALL).proofs


def test_a20_a_guest_that_is_tied_never_moves() -> None:
    tied = Guest(name="local", pools=("vms",), tied="it lies on hv1 only")
    assert sufficient(tied, [off(), off("boot")], self_fenced=True, demand=ONE).why == "it lies on hv1 only"


def test_a16_storage_is_waited_for_even_when_power_reads_off() -> None:
    held = sufficient(WEB, [off()], self_fenced=False, demand=ONE, coming={"vms"})
    assert held.proofs == () and "waiting for pool vms" in held.why
    assert len(sufficient(WEB, [off(), no_write("vms")], self_fenced=False, demand=ONE, coming={"vms"}).proofs) == 2


def test_all_wants_every_rung_and_the_time() -> None:
    assert not sufficient(WEB, [off()], self_fenced=True, demand=ALL).proofs
    assert not sufficient(WEB, [no_write("vms")], self_fenced=True, demand=ALL).proofs
    assert not sufficient(WEB, [off(), no_write("vms")], self_fenced=False, demand=ALL).proofs
    assert sufficient(WEB, [off(), no_write("vms")], self_fenced=True, demand=ALL).proofs
    power = Demand(proof="all", rungs={"fence_ipmi": ProofKind.OFF})
    assert not sufficient(WEB, [off()], self_fenced=False, demand=power).proofs
    assert sufficient(WEB, [off()], self_fenced=True, demand=power).proofs


def test_the_self_fence_time_is_ten_seconds_from_the_last_heartbeat_seen() -> None:
    assert self_fenced_at_s(verdict(), 100.0, 100.0) == pytest.approx(109.508)
    assert self_fenced_at_s(verdict(), 100.0, 112.0) == pytest.approx(113.5)


def test_a19_waiting_proves_only_what_the_last_heartbeat_said() -> None:
    assert self_fenced_at_s(verdict(armed=False), 100.0, 100.0) is None
    assert self_fenced_at_s(verdict(limit_s=20.0), 100.0, 100.0) == pytest.approx(121.52)
    assert watchdog_bit_at_s(verdict(), 100.0, 100.0) is None
    assert watchdog_bit_at_s(verdict(watchdog_s=5.0), 100.0, 100.0) == pytest.approx(115.013)


def test_what_a_guest_can_write_to_is_the_union_of_claim_and_definition() -> None:
    volumes = dict(kept_volume(*where) for where in (("vms", "root"), ("fast", "db"), ("local", "x", "hv1")))
    view = ClusterView(volumes=volumes)
    iso = DiskSpec(dev="sda", bus="sata", kind="file", path="/iso", read_only=True)
    root = DiskSpec(dev="vda", bus="virtio", kind="volume", volume="vms/root")
    text = Description(name="web", uuid=None, memory_bytes=1, vcpus=1, disks=(root, iso))
    claim = Claim(uuid="u", holder="hv1", volumes=("vms/root", "fast/db"))
    found = guest_of(view, claim, "web", text)
    assert (found.pools, found.unprovable, found.tied) == (("vms", "fast"), (), "")
    raw = DiskSpec(dev="vdb", bus="virtio", kind="block", path="/dev/sdb")
    odd = Description(name="web", uuid=None, memory_bytes=1, vcpus=1, disks=(root, raw))
    assert guest_of(view, claim, "web", odd).unprovable == ("/dev/sdb of its host",)
    assert guest_of(view, Claim(uuid="u", holder="hv1", volumes=("vms/gone",)), "web", text).unprovable
    assert guest_of(view, claim, "web", None).unprovable
    assert "only" in guest_of(view, Claim(uuid="u", holder="hv1", volumes=("local/x",)), "web", text).tied


def test_b1_a_directory_gives_no_proof_of_its_own() -> None:
    """What a frozen or killed QEMU left in the kernel of an NFS client lands later: only OFF serves."""
    from pvc_storage_dir.plugin import StorageDir

    definitions = StorageDir({"path": "/x"}).storage
    assert definitions is not None and not definitions.capabilities.storage_fencing
