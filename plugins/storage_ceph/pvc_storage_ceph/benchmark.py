"""How fast a pool is, measured by fio through its rbd engine on an image that is removed again.

Librbd's cache is off: with it, small writes end in memory and say nothing of Ceph.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from pvc_core.contracts.actions import Progress
from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Conflict, NotFound, Permanent, Refused, StoreUnavailable
from pvc_core.units import GIB
from pvc_storage_ceph.driver import CephStorage

TEST_FORMAT = 2
SIZE_BYTES = GIB
KEPT = 20
TESTS = {
    "seq_read": ("read", "4M", 64),
    "seq_write": ("write", "4M", 64),
    "rand_read_4M": ("randread", "4M", 64),
    "rand_write_4M": ("randwrite", "4M", 64),
    "rand_read_4K": ("randread", "4K", 64),
    "rand_write_4K": ("randwrite", "4K", 64),
    "rand_read_4K_lowdepth": ("randread", "4K", 1),
    "rand_write_4K_lowdepth": ("randwrite", "4K", 1),
}
"""By name: fio's rw, block size, queue depth. seq_write comes before the others that read, so that there is data."""
_ORDER = ("seq_write", *(name for name in TESTS if name != "seq_write"))
_PERCENTILES = ("50.000000", "95.000000", "99.000000")


class Benchmark:
    """The action `benchmark`, and what was measured before."""

    def __init__(self, context: PluginContext, driver: CephStorage) -> None:
        self._context, self._driver = context, driver

    def run(self, args: Mapping[str, Any], progress: Progress) -> dict[str, object]:
        pool, seconds = str(args["pool"]), int(args["seconds"])
        job = str(args.get("name") or "") or f"{pool}-{int(self._context.clock.wall_s())}"
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", job):
            raise Refused(f"{job!r} cannot be the name of a benchmark", help="letters, digits, - _ and . are")
        image = f".pvc-bench-{os.urandom(4).hex()}"
        self._driver.make_hidden(pool, image, SIZE_BYTES)
        conf = ""
        try:
            conf = self._conf()
            measured = {}
            for number, name in enumerate(_ORDER):
                progress(number, len(_ORDER), f"measuring {name.replace('_', ' ')} of pool {pool}")
                measured[name] = self._measured(conf, pool, image, name, seconds)
        finally:
            if conf:
                os.unlink(conf)
            self._driver.remove_hidden(pool, image)
        found = {
            "job": job,
            "test_format": TEST_FORMAT,
            "pool": pool,
            "benchmark_result": {one: measured[one] for one in TESTS},
        }
        self._keep(job, found)
        return {**found, "message": f"pool {pool} is measured: {_sentence(measured)}"}

    def kept(self) -> list[dict[str, Any]]:
        """What was measured before, oldest first."""
        found = []
        try:
            for job in self._context.state.children("benchmarks"):
                found.append(json.loads(self._context.state.get(f"benchmarks/{job}")[0]))
        except (NotFound, StoreUnavailable):
            return found
        return sorted(found, key=lambda one: float(one.get("at_s", 0)))

    def _measured(self, conf: str, pool: str, image: str, name: str, seconds: int) -> dict[str, Any]:
        rw, block, depth = TESTS[name]
        config = self._driver.connection()
        argv = [
            "env", f"CEPH_CONF={conf}", "fio", "--name=pvc", "--ioengine=rbd", f"--clientname={config['user']}",
            f"--pool={config['pool_prefix']}{pool}", f"--rbdname={image}", f"--rw={rw}", f"--bs={block}",
            f"--iodepth={depth}", "--direct=1", "--time_based", f"--runtime={seconds}", "--ramp_time=1",
            "--randrepeat=0", "--output-format=json",
        ]  # fmt: skip
        done = self._context.run(argv, deadline_s=seconds + 120.0)
        start = done.stdout.find("{")
        if done.returncode or start < 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["fio gave no reason"]
            raise Permanent(f"measuring {name} failed: {said[0]}", help="is Debian's package fio installed?")
        job = json.loads(done.stdout[start:])["jobs"][0]["read" if "read" in rw else "write"]
        latency = job["clat_ns"]
        return {
            "bandwidth_bytes_s": int(job["bw_bytes"]),
            "iops": round(float(job["iops"]), 1),
            "latency_us": {
                "mean": round(latency["mean"] / 1000, 1),
                **{f"p{key.split('.')[0]}": latency.get("percentile", {}).get(key, 0) // 1000 for key in _PERCENTILES},
            },
            "block_size": block,
            "queue_depth": depth,
        }

    def _conf(self) -> str:
        """Ceph's own configuration, and no cache."""
        config = self._driver.connection()
        path = os.path.join(config["state"], f"bench-{os.urandom(4).hex()}.conf")
        os.makedirs(config["state"], mode=0o700, exist_ok=True)
        with open(config["conf"]) as file:
            text = file.read()
        keyring = f"keyring = {config['keyring']}\n" if config["keyring"] else ""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{text}\n[client]\nrbd_cache = false\n{keyring}")
        return path

    def _keep(self, job: str, found: dict[str, Any]) -> None:
        state = self._context.state
        value = json.dumps({**found, "at_s": self._context.clock.wall_s()}).encode()
        try:
            state.put(f"benchmarks/{job}", value, if_version=None)
            for old in self.kept()[:-KEPT]:
                state.delete(f"benchmarks/{old['job']}", if_version=None)
        except (NotFound, Conflict, StoreUnavailable) as error:
            self._context.log.warning("a benchmark's result is not kept", reason=str(error))


def _sentence(measured: Mapping[str, Any]) -> str:
    write, small = measured["seq_write"], measured["rand_write_4K"]
    return f"{write['bandwidth_bytes_s'] / 1e6:.0f} MB/s written in order, {small['iops']:.0f} small writes a second"
