"""Tasks on networks: a lease ends before its time, at the primary, whose driver gives the leases."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.reconcile.network import driver_of
from pvc_core.reconcile.task import Done, Job, TaskKind

RELEASE_S = 15.0


def release(job: Job) -> Done:
    vni, address = str(job.task.args["vni"]), str(job.task.args["address"])
    kept = job.ground.view.networks.get(vni)
    if kept is None:
        return Done(status=f"network {vni} is gone, and the lease of {address} with it")
    network, driver = kept.value, driver_of(job.ground.networks, kept.value)
    job.ground.calls(
        f"network-lease/{vni}", f"ending the lease of {address}", RELEASE_S,
        lambda: driver.release_address(network, address, deadline_s=RELEASE_S),
    )  # fmt: skip
    return Done(status=f"the lease of {address} in network {network.ref} has ended")


KINDS: Mapping[str, TaskKind] = {"network.release": TaskKind(do=release)}
