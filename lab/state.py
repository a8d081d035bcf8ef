"""What a lab leaves on disk while it exists: one directory, /var/tmp/pvc-lab-NAME, owned by root. `down` removes it.

lab.json          what was asked for, and whether `up` came to its end
pids/             one record per process (processes.py)
api-key           the key `lab env` prints
cli/              the CLI's connection to this lab
nodes/hv1/        etc, var: what the node sees as its own; boot.json: what its first process is told
cuts/hv1.cluster  there while hv1's cable to that network is pulled
volumes/          the pool `vms`, one directory for all nodes
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab import LabError
from lab.processes import Process, read_record

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"
PREFIX = "pvc-lab-"
DEFAULT_NAME = "lab"
SWITCH = "switch"
FORWARDER = "forwarder"
LOCK_WAIT_S = 2.0


@dataclass
class Plan:
    """What `up` was asked for, and what came of it."""

    name: str
    nodes: list[str]
    store: str = "embedded"
    storage: str = "dir"
    plugins: list[str] = field(default_factory=list)
    fresh: bool = False
    """Bare machines: nobody has installed a cluster on them, so there is no API key either."""
    api_port: int = 0
    """On 127.0.0.1; leads to the primary's API, or else to whichever coordinator answers."""
    node_ports: dict[str, int] = field(default_factory=dict)
    """On 127.0.0.1; each leads to the API of this coordinator only, or ("floating") to the floating address."""
    ready: bool = False

    @property
    def coordinators(self) -> list[str]:
        """The first three of three nodes or more, else the first: an even number has no use."""
        return self.nodes[: 3 if len(self.nodes) >= 3 else 1]


class Lab:
    """One lab by name, whether it exists or not."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
            raise LabError(f"{name!r} cannot name a lab; use up to 20 of a-z, 0-9 and '-', like demo or test-1")
        self.name = name
        self.root = _base() / f"{PREFIX}{name}"

    @property
    def exists(self) -> bool:
        return self.root.is_dir()

    @property
    def key_file(self) -> Path:
        return self.root / "api-key"

    def node_dir(self, node: str) -> Path:
        return self.root / "nodes" / node

    def record(self, process: str) -> Path:
        return self.root / "pids" / process

    def process(self, name: str) -> Process | None:
        """Return the recorded process `name` (a node, SWITCH, FORWARDER) if it runs."""
        found = read_record(self.record(name))
        return found if found is not None and found.runs() else None

    def cuts(self, node: str) -> set[str]:
        """Return the names of the networks `node` is cut off from."""
        return {path.suffix[1:] for path in (self.root / "cuts").glob(f"{node}.*")}

    def note_cut(self, node: str, network: str, *, cut: bool) -> None:
        """Remember it for status and for the next power on."""
        mark = self.root / "cuts" / f"{node}.{network}"
        mark.parent.mkdir(exist_ok=True)
        if cut:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def needs(self, name: str, *, what: str = "") -> Process:
        """Like process(), but raises LabError where it does not run."""
        found = self.process(name)
        if found is None:
            raise LabError(
                f"{what or name} of lab {self.name} is off; script/lab power on {name}, or script/lab up again"
            )
        return found

    def plan(self) -> Plan:
        try:
            return Plan(**json.loads((self.root / "lab.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            raise LabError(f"there is no lab {self.name}; script/lab up --name {self.name} makes one") from None

    def save(self, plan: Plan) -> None:
        new = self.root / "lab.json.new"
        new.write_text(json.dumps(asdict(plan), indent=1) + "\n")
        new.rename(self.root / "lab.json")

    def checked_node(self, node: str) -> str:
        nodes = self.plan().nodes
        if node not in nodes:
            raise LabError(f"lab {self.name} has no node {node!r}; it has {', '.join(nodes)}")
        return node

    def kill_all(self) -> None:
        """Kill every recorded process: nodes first, so that nothing speaks to a network that is gone."""
        records = sorted((self.root / "pids").glob("*"), key=lambda path: path.name in {SWITCH, FORWARDER})
        for record in records:
            found = read_record(record)
            if found is not None:
                found.kill()
            record.unlink(missing_ok=True)

    def remove(self) -> None:
        """Kill all that runs and remove all that is on disk."""
        self.kill_all()
        shutil.rmtree(self.root)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lab's directory (made where it is missing) against every other up, down and power. Raises
        LabError.
        """
        held = self._lock()
        try:
            yield
        finally:
            os.close(held)

    def _lock(self) -> int:
        """A helper of an `up` that was just killed may hold it for another moment."""
        end = time.monotonic() + LOCK_WAIT_S
        while True:
            self._make_root()
            held = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # a `down` that was faster may have removed the directory we hold
                if self.exists and os.fstat(held).st_ino == self.root.stat().st_ino:
                    return held
            os.close(held)
            if time.monotonic() > end:
                raise LabError(f"another command is changing lab {self.name} right now; wait for it")
            time.sleep(0.05)

    def _make_root(self) -> None:
        self.root.mkdir(mode=0o700, exist_ok=True)
        if self.root.is_symlink() or self.root.stat().st_uid != os.geteuid():
            raise LabError(f"{self.root} belongs to somebody else; choose another name")


def the_only_lab() -> Lab:
    """Return the lab that is meant when no name is given: the only one there is. Raises LabError."""
    names = all_labs()
    if not names:
        raise LabError("no lab runs; script/lab up makes one")
    if len(names) > 1:
        raise LabError(f"there are several labs: {', '.join(names)}; say which with --name")
    return Lab(names[0])


def all_labs() -> list[str]:
    return sorted(path.name.removeprefix(PREFIX) for path in _base().glob(f"{PREFIX}*") if path.is_dir())


def _base() -> Path:
    return Path(os.environ.get("PVC_LAB_DIR", "/var/tmp"))
