"""dnsmasq, one for each network served here and one for the names towards upstream: files, processes, changes.

The processes are the daemon's children (PluginContext.supervise): they die with it, so there are never two. What they
are told is dnsmasq.py's, when they run is router.py's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from pvc_core.contracts.plugin import PluginContext, Supervised
from pvc_core.errors import Permanent
from pvc_core.model.network import Network
from pvc_net_evpn import dnsmasq

USER, GROUP = "nobody", "nogroup"
CAPABILITIES = "-all,+net_admin,+net_raw,+net_bind_service"
SCRIPT = Path(__file__).with_name("lease-event.sh")
STEADY_S = 1.5
"""dnsmasq catches SIGHUP from then on; before, it would die of it."""


class Serving:
    """`place`: where a program may lie that runs as another user (/run is often mounted noexec)."""

    def __init__(self, context: PluginContext, run: Path, place: Path, pipe: Path, enter: Sequence[str]) -> None:
        self._context, self._run, self._pipe, self._enter = context, run, pipe, list(enter)
        self._script = place / "lease-event"
        self._programs: dict[str, tuple[Supervised, str, float]] = {}
        """Folder -> (program, its configuration, when it was started)."""
        self._given: dict[str, tuple[object, ...]] = {}
        """Folder -> what it runs with: with hundreds of networks most are as they were."""
        self._hups: set[str] = set()

    def prepare(self) -> None:
        """Raises Permanent, OSError."""
        if shutil.which("dnsmasq") is None:
            raise Permanent("dnsmasq is not installed on this node", help="apt install dnsmasq-base")
        self._script.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self._script.exists() or self._script.read_bytes() != SCRIPT.read_bytes():
            new = self._script.with_suffix(".new")
            shutil.copyfile(SCRIPT, new)
            new.chmod(0o755)
            os.replace(new, self._script)
        os.chown(self._pipe, pwd.getpwnam(USER).pw_uid, -1)

    def network(
        self, network: Network, *, mtu: int, names: Mapping[str, str], leases: Sequence[dnsmasq.Given], tftp_root: str
    ) -> None:
        """Its dnsmasq runs with this. Raises Permanent, OSError."""
        given = (network, mtu, {**names}, [*leases], tftp_root)
        if self._given.get(str(network.vni)) == given:
            return
        folder = self._folder(str(network.vni))
        _write(folder / dnsmasq.LEASES, dnsmasq.known_leases(network, leases))
        changed = _write(folder / dnsmasq.HOSTS, dnsmasq.hosts(network, names))
        changed = _write(folder / dnsmasq.NAMES, dnsmasq.names(network)) or changed
        text = dnsmasq.config(network, folder, mtu=mtu, script=self._script, tftp_root=tftp_root)
        self._run_it(str(network.vni), text, changed, [f"PVC_VNI={network.vni}"])
        self._given[str(network.vni)] = given

    def leases(self, network: Network, leases: Sequence[dnsmasq.Given]) -> None:
        """What a dnsmasq that has to be started again begins with."""
        _write(self._folder(str(network.vni)) / dnsmasq.LEASES, dnsmasq.known_leases(network, leases))

    def upstream(self, text: str, names: str) -> None:
        """`text` in terms of `folder_of_all`; "" when there is nothing to serve."""
        if not text:
            self.stop(ALL)
            return
        changed = _write(self.folder_of_all / dnsmasq.NAMES, names)
        self._run_it(ALL, text, changed, [])

    @property
    def folder_of_all(self) -> Path:
        return self._folder(ALL)

    def stop(self, name: str) -> None:
        """It has ended when this returns. It did not run: fine."""
        program = self._programs.pop(name, None)
        self._given.pop(name, None)
        self._hups.discard(name)
        if program is not None:
            program[0].stop()

    def running(self) -> list[str]:
        return sorted(self._programs)

    def tell(self) -> bool:
        """Let those whose files have changed read them. False while one is too young for it."""
        now_s = self._context.clock.boottime_s()
        for name in sorted(self._hups):
            program, _text, since_s = self._programs[name]
            if now_s - since_s < STEADY_S:
                continue
            self._hups.discard(name)
            if program.pid is not None:
                os.kill(program.pid, signal.SIGHUP)
        return not self._hups

    def _run_it(self, name: str, text: str, changed: bool, env: Sequence[str]) -> None:
        old = self._programs.get(name)
        if old is not None and old[1] == text:
            if changed:
                self._hups.add(name)
            return
        folder = self._folder(name)
        _write(folder / "dnsmasq.conf", text)
        self._test(name, folder / "dnsmasq.conf")
        self.stop(name)
        words = [f"PVC_FOLDER={folder}", f"PVC_PIPE={self._pipe}", *env]
        argv = [*self._enter, "setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups"]
        argv += [f"--{which}-caps={CAPABILITIES}" for which in ("inh", "ambient")] + [f"--bounding-set={CAPABILITIES}"]
        argv += ["--pdeathsig=KILL", "env", *words, "dnsmasq", f"--conf-file={folder / 'dnsmasq.conf'}"]
        self._programs[name] = (self._context.supervise(argv), text, self._context.clock.boottime_s())

    def _test(self, name: str, conf: Path) -> None:
        """Before the one that runs is stopped for it. Raises Permanent."""
        done = self._context.run(["dnsmasq", "--test", f"--conf-file={conf}"], deadline_s=5.0)
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise Permanent(f"dnsmasq does not take the configuration of network {name}: {said}")

    def _folder(self, name: str) -> Path:
        folder = self._run / "dns" / name
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        return folder


ALL = "all"
"""The folder, and the name, of the one for upstream."""


def _write(path: Path, text: str) -> bool:
    """True if it says something else now. Whoever reads it reads all of the old or all of the new."""
    try:
        if path.read_text() == text:
            return False
    except FileNotFoundError:
        pass
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(0o644)
    os.replace(new, path)
    return True
