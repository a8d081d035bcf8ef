"""storage_ceph beside Ceph's own tools, on a real Ceph of one machine: volumes, uploads, a list of 500 volumes.

The driver's times include its child process, records and checks; `rbd` has to start and connect each time, as a
script's would. They are taken in turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.tools.figures import begin, say
from lab.ceph_make import Ceph
from pvc_core.model.storage import Volume
from pvc_core.testing.storage_rig import DEADLINE_S, snapshot
from pvc_core.testing.storage_user import StorageUser
from pvc_core.units import GIB, MIB
from tests.storage_ceph import ceph_leash
from tests.storage_ceph.ceph_rig import running_ceph
from tests.storage_ceph.volumes_rig import POOL, Admin, CephRig

ALONE = "rbd clone alone"
IMAGE_BYTES, DATA_BYTES = GIB // 2, GIB // 4


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--volumes", type=int, default=500)
    args = parser.parse_args(argv)
    begin("bench.ceph", argv)
    directory = Path(tempfile.mkdtemp(prefix="pvc-ceph-", dir="/tmp"))
    leash = ceph_leash.hold(directory)
    try:
        with running_ceph(directory) as ceph:
            rig = CephRig(ceph, Admin(ceph), directory / "nodes")
            user = StorageUser(rig, rig.driver(), rig.pool)
            user.driver.ensure_pool(rig.pool, deadline_s=DEADLINE_S)
            steps(user, ceph, args.rounds)
            uploads(user, ceph)
            lists(user, ceph, args.volumes)
            rig.end()
    finally:
        ceph_leash.let_go(leash)
    return 0


def steps(user: StorageUser, ceph: Ceph, rounds: int) -> None:
    """p50 of each, in ms, and the ratio."""
    parent = user.make("parent", units=64)
    user.fill(parent, seed=1)
    rbd(ceph, "create", "theirs-parent", "--size", "64M")
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for number in range(rounds):
        _round(user, ceph, parent, number, ours, theirs)
    say(f"{'step':14}{'driver ms':>11}{'rbd ms':>9}{'ratio':>8}   p50 of {rounds}")
    for what, times in ours.items():
        mine, other = statistics.median(times) * 1000, statistics.median(theirs[what]) * 1000
        say(f"{what:14}{mine:11.0f}{other:9.0f}{mine / other:8.2f}")
    say(f"of rbd's clone, without its snapshot: {statistics.median(theirs[ALONE]) * 1000:.0f} ms")


def _round(
    user: StorageUser,
    ceph: Ceph,
    parent: Volume,
    number: int,
    ours: dict[str, list[float]],
    theirs: dict[str, list[float]],
) -> None:
    volume, target, snap = user.volume(f"v{number}"), user.volume(f"c{number}"), snapshot("s")
    name, clone = f"t{number}", f"tc{number}"
    _both(ours, theirs, "create", lambda: user.create(volume), lambda: rbd(ceph, "create", name, "--size", "4M"))
    _both(
        ours, theirs, "clone (thin)",
        lambda: user.driver.clone_thin(user.pool, parent, target, deadline_s=DEADLINE_S),
        lambda: _cloned(ceph, clone, theirs.setdefault(ALONE, [])),
    )  # fmt: skip
    _both(ours, theirs, "snapshot", lambda: user.snap(volume, snap), lambda: rbd(ceph, "snap", "create", f"{name}@s"))
    _both(
        ours, theirs, "resize",
        lambda: user.resize(volume, 8 * MIB), lambda: rbd(ceph, "resize", name, "--size", "8M"),
    )  # fmt: skip
    rbd(ceph, "snap", "rm", f"{name}@s")
    user.driver.remove_snapshot(user.pool, volume, snap, deadline_s=DEADLINE_S)
    _both(ours, theirs, "remove", lambda: user.remove(volume), lambda: rbd(ceph, "rm", name))
    user.remove(target)
    rbd(ceph, "rm", clone)


def _cloned(ceph: Ceph, name: str, alone: list[float]) -> None:
    """The same as the driver: of what the image holds now, and no snapshot is left to see."""
    rbd(ceph, "snap", "create", f"theirs-parent@{name}")
    words = ("clone", f"theirs-parent@{name}", f"{POOL}/{name}", "--rbd-default-clone-format", "2")
    alone.append(_timed(lambda: rbd(ceph, *words)))
    rbd(ceph, "snap", "rm", f"theirs-parent@{name}")


def uploads(user: StorageUser, ceph: Ceph) -> None:
    """MB of the image a second."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        raw, packed = Path(place, "image.raw"), Path(place, "image.qcow2")
        with raw.open("wb") as file, open("/dev/urandom", "rb") as noise:
            for _step in range(DATA_BYTES // MIB):
                file.write(noise.read(MIB))
            file.truncate(IMAGE_BYTES)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, packed], check=True)
        volume = user.make("upload", units=IMAGE_BYTES // MIB)
        for kind, path in (("raw", raw), ("qcow2", packed)):
            mine = [_timed(partial(upload, user, volume, path, kind)) for _again in range(3)]
            other = [_timed(partial(convert, ceph, path, kind)) for _again in range(3)]
            rates = [IMAGE_BYTES / statistics.median(times) / 1e6 for times in (mine, other)]
            say(
                f"upload {kind:6}: {rates[0]:.0f} MB/s, qemu-img convert {rates[1]:.0f} MB/s: {rates[0] / rates[1]:.2f}"
            )


def lists(user: StorageUser, ceph: Ceph, count: int) -> None:
    for number in range(count):
        user.create(user.volume(f"many{number}", units=1))
    mine = statistics.median(_timed(user.found) for _again in range(5))
    plain = _timed(lambda: rbd(ceph, "ls", "-l"))
    used = _timed(lambda: rbd(ceph, "du"))
    say(
        f"list of {count} with sizes and use: {mine * 1000:.0f} ms; "
        f"rbd ls -l {plain * 1000:.0f} ms, rbd du {used * 1000:.0f} ms"
    )


def upload(user: StorageUser, volume: Volume, path: Path, image_format: str) -> None:
    taking = user.driver.begin_upload(user.pool, volume, image_format=image_format, size_bytes=path.stat().st_size)
    with path.open("rb") as file:
        while data := file.read(MIB):
            taking.write(data)
    taking.commit(lambda *_: None)


def convert(ceph: Ceph, path: Path, image_format: str) -> None:
    """Into a new image, as by hand."""
    url = f"rbd:{POOL}/theirs-upload:conf={ceph.conf}"
    subprocess.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", "-W", "-m", "16", path, url], check=True)
    rbd(ceph, "rm", "theirs-upload")


def rbd(ceph: Ceph, *words: str) -> None:
    argv = ["rbd", "-c", str(ceph.conf), "-p", POOL, *words]
    subprocess.run(argv, check=True, capture_output=True)


def _both(
    ours: dict[str, list[float]], theirs: dict[str, list[float]], what: str, mine: Callable[[], object],
    other: Callable[[], object],
) -> None:  # fmt: skip
    ours.setdefault(what, []).append(_timed(mine))
    theirs.setdefault(what, []).append(_timed(other))


def _timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
