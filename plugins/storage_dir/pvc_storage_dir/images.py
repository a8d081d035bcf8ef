"""What only qemu-img can do: qcow2 files made, grown, snapshotted; images of other formats looked at and converted.

The format is always given, never guessed: a guest writes what it likes into its raw disk, also the head of a qcow2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from pvc_core.contracts.images import check_argv, cut_off, damage, image_fault, raw_fault
from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Permanent, Refused, Retry
from pvc_storage_dir import qcow2
from pvc_storage_dir.faults import Job, readable

_LIMITS = ("prlimit", "--as=4294967296", "--cpu=60")
"""Around every look at a stranger's image: parsers have been made to eat all memory by small files."""


class Images:
    """Raises Retry (deadline, image locked by another process), Refused (no room, image at fault), Permanent."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    def make_qcow2(self, path: str, size_bytes: int, job: Job) -> None:
        self._run(["create", "-q", "-f", "qcow2", path, str(size_bytes)], path, job)
        os.chmod(path, 0o600)

    def resize(self, path: str, image_format: str, size_bytes: int, job: Job) -> None:
        self._run(["resize", "-q", "-f", image_format, path, str(size_bytes)], path, job)

    def convert(self, source: str, source_format: str, target: str, target_format: str, job: Job) -> None:
        """`target` holds what a guest would read from `source`."""
        self._run(["convert", "-q", "-f", source_format, "-O", target_format, source, target], target, job)
        os.chmod(target, 0o600)

    def make_snapshot(self, path: str, snap_id: str, job: Job) -> None:
        """Taken now; one of the same id that an interrupted call left, perhaps long ago, is replaced."""
        self.remove_snapshot(path, snap_id, job)
        self._run(["snapshot", "-q", "-c", tag_of(snap_id), path], path, job)

    def remove_snapshot(self, path: str, snap_id: str, job: Job) -> None:
        """Gone already: fine."""
        if tag_of(snap_id) in self._snapshots(path, job):
            self._run(["snapshot", "-q", "-d", tag_of(snap_id), path], path, job)

    def apply_snapshot(self, path: str, snap_id: str, job: Job) -> None:
        self._run(["snapshot", "-q", "-a", tag_of(snap_id), path], path, job)

    def repair(self, path: str, job: Job) -> None:
        """Clusters that a killed qemu-img left allocated for nothing are free again."""
        self._call(["check", "-q", "-f", "qcow2", "-r", "leaks", path], job)

    def checked_size(self, path: str, image_format: str, job: Job) -> int:
        """The size a guest would see of a stranger's image. Raises Refused unless it is whole and stands alone."""
        outside = qcow2.outside_of(qcow2.read_head(path), image_format)
        if outside:
            raise Refused(
                f"the image cannot be taken as {image_format}: {outside}", help="flatten it with qemu-img convert"
            )
        done = self._call(["info", "--output=json", "-f", image_format, path], job, limits=_LIMITS)
        if done.returncode != 0:
            raise Refused(f"the image cannot be read as {image_format}: {_last_line(done.stderr, path)}")
        info: dict[str, Any] = json.loads(done.stdout)
        cut = cut_off(qcow2.read_head(path), os.path.getsize(path))
        fault = image_fault(info, image_format) or cut or self._damage(path, image_format, info, job)
        if fault:
            raise Refused(f"the image cannot be taken as {image_format}: {fault}")
        return int(info["virtual-size"])

    def refuse_disguised(self, path: str) -> None:
        """An image said to be raw that is none: most likely a slip, and its guest would not boot. Raises Refused."""
        fault, help = raw_fault(qcow2.read_head(path))
        if fault:
            raise Refused(fault, help=help)

    def _damage(self, path: str, image_format: str, info: dict[str, Any], job: Job) -> str:
        job.check()
        done = self._context.run([*_LIMITS, *check_argv(image_format, path)], deadline_s=job.left_s())
        return damage(done.returncode, info)

    def _snapshots(self, path: str, job: Job) -> list[str]:
        stdout = self._run(["info", "--output=json", "-f", "qcow2", path], path, job)
        return [str(one["name"]) for one in json.loads(stdout).get("snapshots", [])]

    def _run(self, argv: Sequence[str], path: str, job: Job) -> str:
        done = self._call(argv, job)
        if done.returncode == 0:
            return str(done.stdout)
        said = _last_line(done.stderr, path)
        if "No space left" in done.stderr or "quota exceeded" in done.stderr:
            raise job.out_of_space()
        if "lock" in done.stderr:
            raise Retry(f"{job.doing} must wait: {path} is in use by another process ({said})")
        if argv[0] == "convert":
            raise Refused(f"{job.doing} failed, the image could not be converted: {said}")
        raise Permanent(f"{job.doing} failed, qemu-img {argv[0]} said of {path}: {said}")

    def _call(self, argv: Sequence[str], job: Job, *, limits: Sequence[str] = ()) -> Any:
        job.check()
        return self._context.run([*limits, "qemu-img", *argv], deadline_s=job.left_s())


def tag_of(snap_id: str) -> str:
    """What a snapshot is called inside a qcow2 file; its name for people is in volume.json and may change."""
    return f"pvc-{snap_id}"


def _last_line(stderr: str, path: str) -> str:
    """qemu-img's own words without our paths in them."""
    lines = [line for line in stderr.replace(path, os.path.basename(path)).splitlines() if line.strip()]
    return lines[-1].removeprefix("qemu-img: ") if lines else "it gave no reason"


def fits(volume_ref: str, image_bytes: int, volume_bytes: int) -> None:
    """Raises Refused if the image is larger than the volume."""
    if image_bytes > volume_bytes:
        raise Refused(
            f'the image does not fit into volume "{volume_ref}": it has {readable(image_bytes)}, '
            f"the volume {readable(volume_bytes)}",
            help="enlarge the volume first",
        )
