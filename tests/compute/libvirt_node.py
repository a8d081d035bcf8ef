"""A libvirtd of a test's own: private namespaces, private directories, nothing of the machine's touched.

It runs under a small init in its own PID namespace, so that ending that one process ends libvirtd and every guest. The
test stays outside and reaches it through its socket; directories that both name lie under one path that both see.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
# In a network of its own nobody else is there to listen to.
TCP = 'listen_tls = 0\nlisten_tcp = 1\nauth_tcp = "none"\n'
# PID 1 must reap what others leave, or libvirt waits for a dead QEMU to disappear; sh does. While `hold` exists,
# libvirtd stays dead.
INIT = """
mount --make-rprivate /
mount --bind {root}/run /run && mount --bind {root}/var /var && mount --bind {root}/etc /etc/libvirt
mount --bind {root}/passwd /etc/passwd && mount --bind {root}/group /etc/group
ip link set lo up; ip link add vmbr100 type bridge; ip link set vmbr100 up
while :; do
    if [ -e {root}/hold ]; then sleep 0.05; else libvirtd --listen; fi
done
"""


class LibvirtNode:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt", "var/tmp", "run/libvirt", "run/lock"):
            (root / name).mkdir(parents=True)
        for name in ("etc", "console", "permits", "images"):
            (root / name).mkdir()
        (root / "var/run").symlink_to("/run")
        log = 'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"\n'
        (root / "etc/libvirtd.conf").write_text(f'auth_unix_rw = "none"\nhost_uuid = "{uuid.uuid4()}"\n{log}{TCP}')
        (root / "etc/qemu.conf").write_text(QEMU_CONF)
        # libvirtd does not start without this user, even if qemu.conf names another.
        _with_line("/etc/passwd", root / "passwd", "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin")
        _with_line("/etc/group", root / "group", "libvirt-qemu:x:64055:")
        self._unshare: subprocess.Popen[bytes] | None = None
        self.address = ""
        """Where other nodes reach it, after `join`."""

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    def start(self) -> None:
        """Returns when libvirtd answers."""
        namespaces = ["-m", "-n", "-u", "-p", "-f", "--kill-child", "--mount-proc"]
        script = INIT.format(root=self.root)
        with (self.root / "out").open("wb") as out:
            command = ["unshare", *namespaces, "sh", "-c", script]
            self._unshare = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.wait_for_libvirtd()

    def join(self, other: LibvirtNode) -> None:
        """A cable between the two nodes; it is gone with either of them."""
        command = ["ip", "link", "add", "cluster", "netns", str(self._init()), "type", "veth"]
        command += ["peer", "name", "cluster", "netns", str(other._init())]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
        for number, node in enumerate((self, other), 1):
            node.address = f"10.99.0.{number}"
            node.inside("ip", "address", "add", f"{node.address}/24", "dev", "cluster")
            node.inside("ip", "link", "set", "cluster", "up")

    def cable(self, state: str) -> None:
        """up or down."""
        self.inside("ip", "link", "set", "cluster", state)

    def stop(self) -> None:
        if self._unshare is not None:
            self._unshare.kill()  # --kill-child: its init dies with it, and everything below
            self._unshare.wait()

    def wait_for_libvirtd(self) -> None:
        self._wait(lambda: self.virsh("version").returncode == 0, "libvirtd answers")

    def virsh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["virsh", "-c", self.uri, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def inside(self, *command: str) -> None:
        """Run a command in the node's namespaces."""
        prefix = ["nsenter", "-t", str(self._init()), "-m", "-n", "-u", "-p"]
        subprocess.run([*prefix, *command], check=True, timeout=60, capture_output=True)

    @property
    def pid_namespace(self) -> int:
        return os.stat(f"/proc/{self._init()}/ns/pid").st_ino

    def libvirtd(self) -> int:
        """Its process; 0 while there is none."""
        for pid in self._pids():
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == "libvirtd" and not _is_zombie(pid):
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        return 0

    def signal_libvirtd(self, number: signal.Signals) -> None:
        os.kill(self.libvirtd(), number)

    def kill_libvirtd(self) -> None:
        """With SIGKILL; it stays dead until `revive_libvirtd`."""
        (self.root / "hold").touch()
        self.signal_libvirtd(signal.SIGKILL)
        self._wait(lambda: self.libvirtd() == 0, "libvirtd is dead")

    def revive_libvirtd(self) -> None:
        (self.root / "hold").unlink(missing_ok=True)
        self.wait_for_libvirtd()

    def qemus(self, uuid: str) -> list[int]:
        """The living QEMUs that carry this UUID, as this test finds them (not by the driver's code)."""
        found = []
        for pid in self._pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if line.startswith(b"/usr/bin/qemu") and uuid.encode() in line:
                found.append(pid)
        return found

    def _init(self) -> int:
        assert self._unshare is not None, "the node was not started"
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        return int(children[0])

    def _pids(self) -> list[int]:
        namespace = self.pid_namespace
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{entry}/ns/pid").st_ino == namespace:
                    found.append(int(entry))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def _wait(self, is_so: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
        end_s = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end_s, f"waited {seconds:g} s until {what}: {(self.root / 'out').read_text()}"
            time.sleep(0.05)


def _with_line(source: str, target: Path, line: str) -> None:
    target.write_text(Path(source).read_text() + line + "\n")


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
