"""User Mode Linux over a copy-on-write view of this machine's root: a kernel that has what the running one lacks
(VLANs, bridges that filter by VLAN). Debian's package user-mode-linux. Nothing in it reaches this machine's files.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path("/usr/bin/linux.uml")
MODULES = "/usr/lib/uml/modules"
INIT = f"""#!/bin/bash
# The first process. Its root is this machine's, read-only (hostfs); an overlay goes over it. The root is pivoted, not
# just changed: the kernel calls modprobe in its own root.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev 2>/dev/null
insmod {MODULES}/$(uname -r)/kernel/fs/overlayfs/overlay.ko
mount -t tmpfs t /mnt; mkdir -p /mnt/upper /mnt/work /mnt/new
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work o /mnt/new || /bin/busybox poweroff -f
for d in proc sys dev; do mount -n --move /$d /mnt/new/$d; done
cd /mnt/new; mount -t tmpfs t run; mkdir -p run/netns; mkdir -p lib/modules; mount -t tmpfs t lib/modules
ln -s {MODULES}/$(uname -r) lib/modules/
cat > run/go <<'END'
ip link set lo up
bash -c "$(tr ' ' '\\n' </proc/cmdline | sed -n 's/^pvc.command=//p' | base64 -d)" </dev/null
echo "uml-rc=$?"
/bin/busybox poweroff -f
END
mkdir -p mnt/old; pivot_root . mnt/old; exec chroot . bash /run/go
"""


@dataclass(frozen=True)
class Ended:
    code: int
    """The command's; 125 when the machine did not get so far."""
    said: str


class Uml:
    """One machine, started at once. `enter`: words before the program (a network namespace); `devices`: like
    "vec0:transport=tap,ifname=tap1,depth=64".
    """

    def __init__(self, command: str, *, memory_mb: int = 512, devices: Sequence[str] = (), enter: Sequence[str] = ()):
        self._place = tempfile.TemporaryDirectory(prefix="pvc-uml-")  # not below /dev, which is its own there
        init = Path(self._place.name, "init")
        init.write_text(INIT)
        init.chmod(0o755)
        words = ["rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1", "quiet", "loglevel=3"]
        words += [f"mem={memory_mb}M", f"init={init}", f"pvc.command={base64.b64encode(command.encode()).decode()}"]
        self._process = subprocess.Popen(
            [*enter, str(PROGRAM), *words, *devices], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            env={**os.environ, "TMPDIR": "/dev/shm"},
        )  # fmt: skip

    def ended(self, *, within_s: float) -> Ended:
        """Waits for it. Raises TimeoutError with what it said so far, and ends it."""
        try:
            said, _ = self._process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            said, _ = self._process.communicate()
            raise TimeoutError(f"User Mode Linux was not ready after {within_s} s: {said}") from None
        finally:
            self._place.cleanup()
        code = re.search(r"^uml-rc=(\d+)", said, re.MULTILINE)
        return Ended(int(code[1]) if code else 125, said)

    def kill(self) -> None:
        """It and the processes it made here."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, 9)
