"""Launch permits as this plugin sees them: installs the libvirt hook that asks for them, and proves that it is asked.

pvcguard writes the permits (one file per UUID); data/qemu-hook.sh reads them. libvirtd looks for hooks once, when it
starts, so a hook that was just installed may not be asked yet: a start without permit must be seen to fail first.
"""

from __future__ import annotations

import json
import os
import uuid as _uuid
from importlib import resources
from pathlib import Path

import libvirt

from pvc_core.errors import Permanent, Retry

_NAME = "pvc-launch-permit"


class Permits:
    def __init__(self, *, permits_dir: Path, hooks_dir: Path) -> None:
        self._permits_dir, self._hooks_dir = permits_dir, hooks_dir

    def generation(self, uuid: str) -> int:
        """Of the permit given now; 0 if there is none."""
        try:
            return int(json.loads((self._permits_dir / uuid).read_text())["generation"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def install_hook(self) -> bool:
        """The hook stands in hooks_dir/qemu.d, beside whatever hooks the operator has. True if it was not there before.

        Raises Permanent when it cannot be written.
        """
        text = (resources.files("pvc_compute_libvirt") / "data" / "qemu-hook.sh").read_text()
        text = text.replace("permits=/run/pvc/permits\n", f"permits={self._permits_dir}\n", 1)
        path = self._hooks_dir / "qemu.d" / _NAME
        try:
            if path.exists() and path.read_text() == text and os.access(path, os.X_OK):
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name("." + path.name)
            new.write_text(text)
            new.chmod(0o755)
            new.replace(path)
        except OSError as error:
            raise Permanent(
                f"could not install libvirt's hook {path}: {error.strerror}", help="guests are not started"
            ) from None
        return True


class NotAsked(Retry):
    """libvirtd does not ask the hook."""


def prove_hook(connection: libvirt.virConnect, virt_type: str) -> None:
    """Start a guest without permit, paused and without devices: libvirt must refuse. Raises NotAsked if it does not."""
    uuid = str(_uuid.uuid4())
    xml = f"""<domain type="{virt_type}"><name>pvc-permit-probe</name><uuid>{uuid}</uuid><memory unit="MiB">16</memory>
        <os><type>hvm</type></os><devices><memballoon model="none"/></devices></domain>"""
    try:
        domain = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_HOOK_SCRIPT_FAILED:
            raise
        if _NAME not in error.get_error_message():
            raise Retry(
                f"another hook of libvirt's refused the trial guest pvc-permit-probe: {error.get_error_message()}",
                help="let guests of that name pass, so that our own hook can be seen to refuse it",
            ) from None
        return
    domain.destroy()
    raise NotAsked(
        "libvirtd starts guests without asking for their launch permit",
        help="restart libvirtd: it reads its hooks only when it starts; running guests are not disturbed",
        again_in_s=2.0,
    )
