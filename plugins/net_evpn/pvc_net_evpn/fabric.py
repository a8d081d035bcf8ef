"""This node's EVPN speaker: FRR's zebra and bgpd, started, watched and configured from what the nodes have on record.

Every node puts its address on record (nodes/NAME in the plugin's part of the store). frr.conf is rendered whole and
applied as a difference by FRR's own frr-reload, which leaves sessions that stay alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Sequence
from ipaddress import ip_interface
from pathlib import Path

from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import NotFound, Permanent, PvcError, Retry
from pvc_core.model.network import Network
from pvc_net_evpn import upstream
from pvc_net_evpn.frrconf import Outside, Peer, frr_conf
from pvc_net_evpn.kernel import Kernel
from pvc_net_evpn.programs import Program
from pvc_net_evpn.told import Told

RUN = Path("/run/pvc-evpn")
FRR, RELOAD = "/usr/lib/frr", "/usr/lib/frr/frr-reload.py"
LOOK_S, START_S, APPLY_S = 2.0, 15.0, 30.0
FLOOD_EACH = 8
"""Looks, until the kernel is asked whether its lists are still as they were made."""
FOLDER = "nodes"
_PASSWORD = re.compile(r"\b(password )\S+")
"""FRR repeats the line that it does not take, and what it says is shown to everybody who may look at a node."""


class Fabric:
    """`enter`: words before each program that shall run in another network namespace (tests)."""

    def __init__(self, context: PluginContext, kernel: Kernel, *, run: Path = RUN, enter: Sequence[str] = ()) -> None:
        self._context, self._kernel, self._run, self._enter = context, kernel, run, list(enter)
        address = context.node.host_networks.get("cluster", "")
        if not address or ip_interface(address).version != 4:
            raise Permanent(
                "net_evpn needs an IPv4 address of this node on the cluster network",
                help="give host_networks.cluster.address in pvc.yaml",
            )
        self.local = str(ip_interface(address).ip)
        self._me = Peer(context.node.name, self.local, context.node.coordinator)
        self._zebra = self._program("zebra", "-s", "90000000")  # netlink's buffer: thousands of changes at once
        self._bgpd = self._program("bgpd")
        self._wake, self._ending, self._lock = threading.Event(), False, threading.Lock()
        self._thread: threading.Thread | None = None
        self._looks = 0
        self._told = Told(run / "upstream.json")
        self._applied, self._why = "", "FRR has not been started yet"

    def demand_ready(self) -> None:
        """Raises Retry until FRR runs and has its configuration. Starts the watching at the first call."""
        with self._lock:
            if self._thread is None:
                self._context.state.wake(self._wake.set)
                self._thread = threading.Thread(target=self._watch, name="net_evpn", daemon=True)
                self._thread.start()
        if self._why:
            raise Retry(f"waiting for FRR: {self._why}", again_in_s=1.0)

    def announce(self, network: Network) -> None:
        """Upstream's routers shall know the way to it, as far as it is to be reached from there. Returns at once."""
        if self._told.say(network.vni, upstream.routed(network)):
            self._wake.set()

    def withdraw(self, vni: int) -> None:
        """It is gone."""
        if self._told.say(vni, ()):
            self._wake.set()

    def stop(self) -> None:
        """FRR itself goes on: guests' packets go by it."""
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(APPLY_S)

    def end_programs(self) -> None:
        """Only for tests and for taking the plugin out."""
        for program in (self._bgpd, self._zebra):
            program.end()

    def _watch(self) -> None:
        while not self._ending:
            self._wake.clear()
            try:
                self._look()
                said = ""
            except PvcError as error:
                said = str(error)
            except OSError as error:
                said = f"{error.filename or 'FRR'}: {error.strerror}"
            except Exception as error:  # whatever it was: without this thread nobody would look after FRR any more
                self._context.log.exception("looking after FRR failed")
                said = f"{type(error).__name__}: {error}"
            if said != self._why:
                self._context.report(25 if said else 0, said or f"FRR runs, {len(self._peers()) - 1} other nodes known")
            self._why = said
            self._wake.wait(LOOK_S)

    def _look(self) -> None:
        self._publish()
        self.forget_gone()
        self._prepare()
        started = self._up("zebra", self._zebra)
        started = self._up("bgpd", self._bgpd) or started
        text = frr_conf(self._me, self._peers(), int(self._context.config["asn"]), self._outside())
        if started:
            self._write(text)
            self._do(["vtysh", "--vty_socket", str(self._run), "--config_dir", str(self._run), "-f", str(self._conf)])
        elif text != self._applied:
            self._write(text)
            places = [*(f"--{word}={self._run}" for word in ("vty_socket", "confdir", "rundir")), "--bindir=/usr/bin"]
            self._do(["/usr/bin/python3", RELOAD, "--reload", "--stdout", *places, str(self._conf)])
        if text != self._applied or self._looks % FLOOD_EACH == 0:
            self._kernel.flood(self.others(), self.local)
        self._looks += 1
        self._applied = text

    def others(self) -> list[str]:
        """The other nodes' addresses. Raises StoreUnavailable."""
        return [peer.address for peer in self._peers() if peer.name != self._me.name]

    def forget_gone(self) -> None:
        """Removed nodes are taken off the record, by the primary's instance. One that joins again at this moment puts
        itself there anew at its next look. Raises StoreUnavailable.
        """
        gone = self._context.gone_nodes()
        if not gone or not self._context.is_primary():
            return
        for name in gone.intersection(self._context.state.children(FOLDER)):
            try:
                self._context.state.delete(f"{FOLDER}/{name}", if_version=None)
            except NotFound:
                continue

    def _outside(self) -> Outside:
        floating = self._context.node.floating.get("upstream", "")
        return Outside(
            peers=upstream.peers(self._context.config, self._context.secret),
            networks=self._told.networks(),
            next_hops=[str(ip_interface(floating).ip)] if floating else [],
        )

    def _publish(self) -> None:
        key, state = f"{FOLDER}/{self._me.name}", self._context.state
        value = json.dumps({"address": self.local, "coordinator": self._me.coordinator}).encode()
        try:
            if state.get(key)[0] == value:
                return
        except NotFound:
            pass
        state.put(key, value, if_version=None)

    def _peers(self) -> list[Peer]:
        """Nodes on record that were not removed from the cluster."""
        found, gone = [], self._context.gone_nodes()
        for name in self._context.state.children(FOLDER):
            if name in gone:
                continue
            try:
                plain = json.loads(self._context.state.get(f"{FOLDER}/{name}")[0])
                found.append(Peer(name, str(plain["address"]), bool(plain["coordinator"])))
            except (NotFound, ValueError, KeyError, TypeError):
                continue  # gone meanwhile, or of a version that says it otherwise
        return found

    def _prepare(self) -> None:
        if not Path(FRR, "bgpd").exists():
            raise Permanent("FRR is not installed on this node", help="apt install frr frr-pythontools")
        self._run.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.chown(self._run, "frr", "frr")
        for name, text in (("zebra.conf", ""), ("bgpd.conf", ""), ("vtysh.conf", "service integrated-vtysh-config\n")):
            if not (self._run / name).exists():
                (self._run / name).write_text(text)
                shutil.chown(self._run / name, "frr", "frr")

    def _program(self, name: str, *more: str) -> Program:
        pid_file = self._run / f"{name}.pid"
        argv = [*self._enter, f"{FRR}/{name}", "-f", str(self._run / f"{name}.conf"), "-i", str(pid_file), *more]
        argv += ["--vty_socket", str(self._run), "-z", str(self._run / "zserv.api"), "-u", "frr", "-g", "frr"]
        argv += ["--log", f"file:{self._run / name}.log", "-A", "127.0.0.1", "-P", "0"]
        return Program(argv, pid_file)

    def _up(self, name: str, program: Program) -> bool:
        """True if it had to be started; then it answers now. A socket left by one that died would look like an answer,
        and vtysh passes in silence over a daemon that it cannot reach.
        """
        if program.pid() is not None:
            program.on_end(self._wake.set)
            return False
        socket = self._run / f"{name}.vty"
        socket.unlink(missing_ok=True)
        self._applied = ""
        program.ensure()
        pause, waited_s = threading.Event(), 0.0
        while not socket.exists():
            if program.pid() is None or waited_s > START_S:
                raise Retry(f"{name} did not come up; its log is in {self._run}")
            pause.wait(0.05)
            waited_s += 0.05
        program.on_end(self._wake.set)
        return True

    @property
    def _conf(self) -> Path:
        return self._run / "frr.conf"

    def _write(self, text: str) -> None:
        """Passwords of sessions may stand in it."""
        new = self._conf.with_suffix(".new")
        new.touch(0o600)
        new.write_text(text)
        shutil.chown(new, "frr", "frr")
        os.replace(new, self._conf)

    def _do(self, argv: Sequence[str]) -> None:
        done = self._context.run(argv, deadline_s=APPLY_S)
        if done.returncode:
            said = _PASSWORD.sub(r"\1...", done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Retry(f"FRR did not take its configuration: {' / '.join(said[-3:])}", again_in_s=LOOK_S)
