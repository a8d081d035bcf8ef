"""Makes and starts a small real Ceph: monitors, a manager, OSDs on files. Where a daemon runs is its `Run`.

That may be this machine (tests) or a node of a lab. Everything lies in one directory, the same path everywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import LabError
from lab.ceph_conf import ENVIRONMENT, MGR_MODULES, Monitor, cluster_conf

Run = Callable[[Sequence[str]], str]
"""Runs a program to its end, returns its output; raises LabError. Daemons put themselves into the background."""
_MODULES = "/usr/share/ceph/mgr"
_ANYWHERE = ("--public-network", "127.0.0.0/8", "--cluster-network", "127.0.0.0/8", "--no-mon-config")
"""Files are made where neither the cluster's network nor its monitors need be; its daemons look for both first."""
_RUN_S = 60.0


def run_here(argv: Sequence[str]) -> str:
    """A `Run` on this machine."""
    environment = {**os.environ, **ENVIRONMENT}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=_RUN_S)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv[:4])}... did not end within {_RUN_S:.0f} s") from None
    if done.returncode:
        raise LabError(f"{' '.join(argv[:4])}... ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Osd:
    """`address` is where it listens, `host` its place in the CRUSH map."""

    number: int
    host: str
    address: str
    run: Run = run_here
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, kw_only=True)
class Ceph:
    """A cluster as it shall be. `mon_runs` has one per monitor; the manager that make() starts runs with the first."""

    directory: Path
    monitors: Sequence[Monitor]
    mon_runs: Sequence[Run]
    osds: Sequence[Osd]
    network: str
    managers: Sequence[str] = ("x",)
    copies: int = 3
    by_host: bool = False
    more: dict[str, str] = field(default_factory=dict)
    fsid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def conf(self) -> Path:
        return self.directory / "ceph.conf"

    def prepare(self) -> None:
        """Files and keys of all, as new. Raises LabError."""
        self._make_files()
        self._make_keys()
        with ThreadPoolExecutor() as together:
            made = [together.submit(self._make_osd, osd) for osd in self.osds]
            for monitor in self.monitors:
                self._make_monitor(monitor)
            for one in made:
                one.result()

    def make(self) -> None:
        """Files, keys and daemons; returns when the OSDs were started. Raises LabError."""
        self.prepare()
        for monitor, run in zip(self.monitors, self.mon_runs, strict=True):
            run(self.mon_argv(monitor))
        self.command("status")
        for name in self.managers:
            self.mon_runs[0](self.mgr_argv(name))
        for osd in self.osds:
            self.command("osd", "new", osd.uuid, str(osd.number))
        self.start_osds()

    def mon_argv(self, monitor: Monitor) -> list[str]:
        return ["ceph-mon", *self._c, "-i", monitor.name, "--public-addrv", monitor.vector]

    def mgr_argv(self, name: str) -> list[str]:
        return ["ceph-mgr", *self._c, "-i", name]

    def osd_argv(self, osd: Osd) -> list[str]:
        where = ["--public-addr", osd.address, "--cluster-addr", osd.address]
        return [
            "ceph-osd",
            *self._c,
            "-i",
            str(osd.number),
            *where,
            "--crush-location",
            f"root=default host={osd.host}",
        ]

    def start_osds(self) -> None:
        with ThreadPoolExecutor() as together:
            list(together.map(self.start_osd, self.osds))

    def start_osd(self, osd: Osd) -> None:
        osd.run(self.osd_argv(osd))

    def command(self, *words: str, limit_s: float = 60.0) -> str:
        """`ceph WORDS` as its administrator. Raises LabError."""
        argv = ["timeout", f"{limit_s:g}", "ceph", *self._c, "--name", "client.admin", "--connect-timeout", "30"]
        return self.mon_runs[0]([*argv, *words])

    def asked(self, *words: str) -> Any:
        return json.loads(self.command(*words, "--format", "json"))

    def await_clean(self, limit_s: float = 120.0) -> None:
        """All OSDs up and all placement groups active and clean: HEALTH_OK alone comes before that."""
        end = time.monotonic() + limit_s
        while True:
            status = self.asked("status")
            up = status["osdmap"]["num_up_osds"] == len(self.osds)
            states = {one["state_name"] for one in status["pgmap"].get("pgs_by_state", [])}
            counted = status["pgmap"].get("bytes_avail", 0) > 0
            if up and counted and states <= {"active+clean"} and bool(states) == bool(status["pgmap"]["num_pgs"]):
                return
            if time.monotonic() > end:
                raise LabError(f"Ceph does not become clean: {status['health']}, {status['pgmap']}")
            time.sleep(0.2)

    def _make_files(self) -> None:
        for name in ("run", "log", "mgr.modules", *(f"mgr.{one}" for one in self.managers)):
            (self.directory / name).mkdir(parents=True)
        for name in MGR_MODULES:
            (self.directory / "mgr.modules" / name).symlink_to(f"{_MODULES}/{name}")
        more = {"osd_crush_chooseleaf_type": "1" if self.by_host else "0", **self.more}
        self.conf.write_text(
            cluster_conf(self.directory, self.fsid, self.monitors, network=self.network, copies=self.copies, more=more)
        )

    def _make_keys(self) -> None:
        """All keys are in the monitors' first keyring, so that nothing has to be registered later."""
        seed = str(self.directory / "seed.keyring")
        rights = {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"},
        }
        for one in self.managers:
            rights[f"mgr.{one}"] = {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"}
        for osd in self.osds:
            rights[f"osd.{osd.number}"] = {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"}
        run_here(["ceph-authtool", "--create-keyring", seed])
        for name, caps in rights.items():
            words = [word for where, cap in caps.items() for word in ("--cap", where, cap)]
            run_here(["ceph-authtool", seed, "--gen-key", "-n", name, *words])
            key = run_here(["ceph-authtool", seed, "-p", "-n", name]).strip()
            text = f"[{name}]\n\tkey = {key}\n" + ('\tcaps mon = "allow *"\n' if name == "mon." else "")
            _write_private(self.directory / f"{name.removesuffix('.')}.keyring", text)

    def _make_monitor(self, monitor: Monitor) -> None:
        monmap = str(self.directory / "monmap")
        if not os.path.exists(monmap):
            words = [word for one in self.monitors for word in ("--addv", one.name, one.vector)]
            head = ["monmaptool", "--create", "--fsid", self.fsid, "--enable-all-features"]
            run_here([*head, "--set-min-mon-release", "pacific", *words, monmap])
        home = self.directory / f"mon.{monitor.name}"
        home.mkdir()
        seed = str(self.directory / "seed.keyring")
        run_here(
            ["ceph-mon", *self._c, "--mkfs", *_ANYWHERE, "-i", monitor.name, "--monmap", monmap, "--keyring", seed]
        )
        _write_private(home / "keyring", (self.directory / "mon.keyring").read_text())

    def _make_osd(self, osd: Osd) -> None:
        (self.directory / f"osd.{osd.number}").mkdir()
        run_here(["ceph-osd", *self._c, "-i", str(osd.number), "--mkfs", *_ANYWHERE, "--osd-uuid", osd.uuid])

    @property
    def _c(self) -> list[str]:
        return ["-c", str(self.conf)]


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
