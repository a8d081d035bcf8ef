"""The ways to start one guest that bench/start.py compares. Each starts it, says when what happened, and ends it."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from bench.tools.witness import Domains, Keys, launched_s, written_s
from pvc_core.guard.client import Guard

RUN = Path("/run/pvc")
QEMU_LOGS = Path("/var/log/libvirt/qemu")
Times = dict[str, float]
"""What happened -> milliseconds after it was asked for."""


class Way(Protocol):
    domains: Domains

    def round(self) -> Times: ...
    def start(self) -> Times: ...
    def stop(self) -> None: ...


class ByPvc:
    """`POST /vm/NAME/state`, on a connection that is open already, as any user's client would."""

    def __init__(self, api: tuple[str, int], key: str, name: str, vm_uuid: str, domains: Domains, keys: Keys) -> None:
        self._line, self._key = http.client.HTTPConnection(*api), key
        self._name, self.uuid, self.domains, self._keys = name, vm_uuid, domains, keys

    def round(self) -> Times:
        times = self.start()
        self.stop()
        return times

    def start(self) -> Times:
        self.domains.forget(self.uuid)
        asked_s = time.monotonic()
        self._ask("POST", "?state=start")
        answered_s = time.monotonic()
        running_s = self.domains.started_at_s(self.uuid)

        def stored_s(kind: str, since_s: float) -> float:
            return self._keys.first_s(f"/pvc/state/{kind}/{self.uuid}", since_s=since_s)

        launched = launched_s(QEMU_LOGS / f"{self._name}.log")
        at = {
            "wanted stored": stored_s("vm-wanted", asked_s),
            "answered": answered_s,
            "claim stored": stored_s("claims", asked_s),
            "permit written": written_s(RUN / "permits" / self.uuid),
            "libvirt begins QEMU": launched,
            "running": running_s,
            "seen stored": stored_s("vm-seen", launched),  # not running_s: libvirt's event may come here after it
        }
        return {what: (at_s - asked_s) * 1000 for what, at_s in at.items()}

    def stop(self) -> None:
        self._ask("POST", "?state=stop&wait=true")
        while self._ask("GET", "")["state"] != "stop":
            time.sleep(0.05)

    def _ask(self, method: str, query: str) -> Any:
        self._line.request(method, f"/api/v1/vm/{self._name}/state{query}", headers={"X-Api-Key": self._key})
        answer = self._line.getresponse()
        content = json.loads(answer.read())
        if answer.status >= 300:
            raise RuntimeError(f"{method} state{query}: {content}")
        return content


class ByLibvirt:
    """createXML of the same XML, on a connection that is open already. With `guard`, a permit is given beforehand."""

    def __init__(self, guest: Bare, domains: Domains, guard: Guard | None) -> None:
        self.guest, self.domains, self._guard = guest, domains, guard
        self._generation = 0

    def round(self) -> Times:
        times = self.start()
        self.stop()
        return times

    def start(self) -> Times:
        uuid = self.guest.uuid
        self.domains.forget(uuid)
        if self._guard:
            self._generation += 1
            self._guard.permit(uuid, generation=self._generation, for_s=60.0)
        asked_s = time.monotonic()
        self._create()
        running_s = self.domains.started_at_s(uuid)
        begun_s = launched_s(QEMU_LOGS / f"{self.guest.name}.log")
        return {"libvirt begins QEMU": (begun_s - asked_s) * 1000, "running": (running_s - asked_s) * 1000}

    def stop(self) -> None:
        self.domains.connection.lookupByUUIDString(self.guest.uuid).destroy()
        if self._guard:
            self._guard.revoke(self.guest.uuid)

    def _create(self) -> None:
        self.domains.connection.createXML(self.guest.xml, 0)


class ByVirsh(ByLibvirt):
    """`virsh create FILE`: as a person does, a process and a connection of its own each time."""

    def __init__(self, guest: Bare, domains: Domains, uri: str, file: Path) -> None:
        super().__init__(guest, domains, None)
        file.write_text(guest.xml)
        self._argv = ["virsh", "-q", "-c", uri, "create", str(file)]

    def _create(self) -> None:
        subprocess.run(self._argv, check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class Bare:
    """The same guest under another identity, so that one libvirtd may know both. It does not run beside the first."""

    xml: str
    name: str
    uuid: str
    mac: str

    @classmethod
    def like(cls, xml: str, *, name: str, uuid: str, mac: str) -> Bare:
        number = uuid4()
        new_name, digits = f"bare-{number.hex[:8]}", number.hex
        new_mac = f"52:54:00:{digits[:2]}:{digits[2:4]}:{digits[4:6]}"
        other = xml.replace(uuid, str(number)).replace(mac, new_mac)
        return cls(other.replace(f"<name>{name}</name>", f"<name>{new_name}</name>"), new_name, str(number), new_mac)

    def as_of(self, text: str, *, name: str, uuid: str, mac: str) -> str:
        """`text` about this guest, as if it were about the other."""
        return text.replace(self.uuid, uuid).replace(self.name, name).replace(self.mac, mac)


@contextlib.contextmanager
def libvirtd_without_hook() -> Iterator[str]:
    """A second libvirtd in this node that knows no hook and no guest of the first; its URI."""
    private = ("/run/libvirt", "/etc/libvirt/hooks", "/var/lib/libvirt", "/var/cache/libvirt")
    mounts = "".join(f"mkdir -p {path} && mount -t tmpfs none {path} && " for path in private)
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"{mounts}exec libvirtd --pid-file /run/libvirt/bench.pid"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    socket = Path(f"/proc/{process.pid}/root/run/libvirt/libvirt-sock")
    ends_s = time.monotonic() + 30.0
    try:
        while not (Path(f"/proc/{process.pid}/root/run/libvirt/bench.pid").exists() and socket.exists()):
            if process.poll() is not None or time.monotonic() > ends_s:
                raise RuntimeError("a second libvirtd does not come up in the node")
            time.sleep(0.05)
        yield f"qemu:///system?socket={socket}"
    finally:
        process.terminate()
        process.wait(10)
