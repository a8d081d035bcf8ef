"""The ceph.conf of a small real Ceph: quick to start, small in memory, on files. Who runs what is for the callers.

Figures that look odd were measured: closing a BlueStore file waits for bdev_aio_poll_ms, an election for its timeout,
which begins when the leader was silent for twice mon_lease; after an OSD was lost with its node the others answer
nothing for the read lease, osd_heartbeat_grace times its ratio; who was connected to a lost node's monitor, an OSD or a
guest's disk, hears nothing of that before mon_client_ping_timeout;
and Debian's ceph-osd, built without tcmalloc, keeps its caches small only when they are not tuned by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
"""Of every daemon: glibc gives memory back."""
MGR_MODULES = (
    "mgr_module.py", "mgr_util.py", "balancer", "crash", "devicehealth", "orchestrator", "pg_autoscaler", "progress",
    "rbd_support", "status", "telemetry", "volumes",
)  # fmt: skip
"""Those that are always on: all others cost 150 MB and three seconds."""


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Speaks both protocols, as old clients know only the first."""

    name: str
    address: str
    port: int = 3300
    old_port: int = 6789

    @property
    def vector(self) -> str:
        return f"[v2:{self.address}:{self.port},v1:{self.address}:{self.old_port}]"


def cluster_conf(
    directory: Path, fsid: str, monitors: Sequence[Monitor], *, network: str, copies: int, more: Mapping[str, str]
) -> str:
    """The whole file. `directory` holds everything of it; `more` are lines of [global]."""
    lines = {
        "fsid": fsid,
        "mon_host": ",".join(one.vector for one in monitors),
        "mon_initial_members": ",".join(one.name for one in monitors),
        "keyring": f"{directory}/$name.keyring",
        "log_file": f"{directory}/log/$name.log",
        "mon_cluster_log_file": f"{directory}/log/cluster.log",
        "run_dir": f"{directory}/run",
        "admin_socket": f"{directory}/run/$name.asok",
        "pid_file": f"{directory}/run/$name.pid",
        "crash_dir": f"{directory}/log",
        "public_network": network,
        "cluster_network": network,
        "osd_pool_default_size": str(copies),
        "osd_pool_default_min_size": str(max(1, copies - 1)),
        **more,
    }
    head = "".join(f"{key} = {value}\n" for key, value in lines.items())
    return f"[global]\n{head}{_GLOBAL}{_SECTIONS.format(directory=directory)}"


def client_conf(fsid: str, monitors: Sequence[Monitor]) -> str:
    """What a client needs."""
    hosts = ",".join(one.vector for one in monitors)
    return f"[global]\nfsid = {fsid}\nmon_host = {hosts}\n[client]\nlog_file =\nerr_to_stderr = false\n"


_GLOBAL = """\
log_to_stderr = false
err_to_stderr = true
ms_bind_ipv4 = true
ms_bind_ipv6 = false
auth_allow_insecure_global_id_reclaim = false
mon_client_ping_interval = 2
mon_client_ping_timeout = 6
osd_pool_default_pg_num = 8
osd_pool_default_read_lease_ratio = 0.4
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
ms_async_op_threads = 2
debug_rocksdb = 0/0
"""
_SECTIONS = """\
[mon]
mon_data = {directory}/mon.$id
keyring = {directory}/mon.$id/keyring
mon_allow_pool_delete = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 2
mon_data_avail_crit = 1
mon_clock_drift_allowed = 1
mon_osd_min_down_reporters = 1
mon_osd_adjust_heartbeat_grace = false
osd_heartbeat_grace = 10
paxos_propose_interval = 0.1
rocksdb_cache_size = 33554432
mon_election_timeout = 1
mon_lease = 2
[mgr]
mgr_data = {directory}/mgr.$id
mgr_initial_modules =
mgr_module_path = {directory}/mgr.modules
mgr_tick_period = 1
mgr_stats_period = 1
mgr_standby_modules = false
[osd]
osd_data = {directory}/osd.$id
osd_objectstore = bluestore
bluestore_block_create = true
bluestore_block_size = 8589934592
bluestore_fsck_on_mkfs = false
bdev_aio_poll_ms = 10
bluestore_debug_enforce_settings = ssd
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 2
osd_heartbeat_grace = 10
osd_heartbeat_interval = 3
osd_mclock_skip_benchmark = true
osd_max_backfills = 4
osd_min_pg_log_entries = 200
osd_max_pg_log_entries = 500
osd_pg_log_dups_tracked = 500
osd_crush_update_on_start = true
bluestore_rocksdb_options_annex = write_buffer_size=16777216,max_write_buffer_number=4
[client]
log_file =
err_to_stderr = false
admin_socket =
rbd_default_features = 61
"""
