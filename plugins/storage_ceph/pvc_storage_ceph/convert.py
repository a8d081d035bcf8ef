"""What only qemu-img can do: look at an image of another format that lies in an RBD image, and convert it into one.

The format is always given, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pvc_core.contracts.images import check_argv, damage, image_fault
from pvc_core.contracts.plugin import PluginContext
from pvc_core.errors import Permanent, Refused, Retry
from pvc_storage_ceph.faults import readable

_LIMITS = ("prlimit", "--as=8589934592", "--cpu=120")
"""Around every look at a stranger's image: parsers have been made to eat all memory by small files."""
_LOOK_S = 60.0
_CHECK_S = 1800.0
"""Reads all of an image's tables: 130 MB of a TiB in a qcow2."""
_CONVERT_S = 6 * 3600.0
WAITS_S = 30
"""For each answer of an OSD: without a limit it would wait in a full pool until there is room, perhaps for ever."""
_FAST = ("-n", "-t", "none", "-T", "none", "-W", "-m", "16", "--target-is-zero")


def convert(
    context: PluginContext,
    config: Mapping[str, Any],
    pool: str,
    source: str,
    image_format: str,
    target: str,
    size_bytes: int,
) -> None:
    """`target`, an empty image of size_bytes, holds what a guest would read from the image of `image_format` in
    `source`. `config` says who we are to Ceph. Raises Refused, Retry, Permanent.
    """
    _checked(context, _url(config, pool, source), image_format, size_bytes)
    argv = ["qemu-img", "convert", "-q", "-f", image_format, "-O", "raw", *_FAST]
    done = context.run([*argv, _url(config, pool, source), _url(config, pool, target)], deadline_s=_CONVERT_S)
    if done.returncode:
        raise _error("the image could not be converted", done.stderr)


def _checked(context: PluginContext, url: str, image_format: str, size_bytes: int) -> None:
    argv = [*_LIMITS, "qemu-img", "info", "--output=json", "-f", image_format, url]
    done = context.run(argv, deadline_s=_LOOK_S)
    if done.returncode:
        raise _error(f"the image cannot be read as {image_format}", done.stderr)
    info: dict[str, Any] = json.loads(done.stdout)
    fault = image_fault(info, image_format)
    if fault:
        raise Refused(f"the image cannot be taken as {image_format}: {fault}")
    size = int(info["virtual-size"])
    if size > size_bytes:
        raise Refused(
            f"the image does not fit: it has {readable(size)}, the volume {readable(size_bytes)}",
            help="enlarge the volume first",
        )
    checked = context.run([*_LIMITS, *check_argv(image_format, url)], deadline_s=_CHECK_S)
    lost = damage(checked.returncode, info)
    if lost:
        raise Refused(f"the image cannot be taken as {image_format}: {lost}", help="upload the whole image")


def _url(config: Mapping[str, Any], pool: str, image: str) -> str:
    """QEMU's docs/system/qemu-block-drivers: rbd:POOL/IMAGE:option=value, with \\ before what has a meaning."""
    words = {"conf": config["conf"], "id": config["user"], "rados_osd_op_timeout": str(WAITS_S)}
    if config["keyring"]:
        words["keyring"] = config["keyring"]
    options = "".join(f":{key}={_escaped(value)}" for key, value in words.items())
    return f"rbd:{pool}/{image}{options}"


def _escaped(value: str) -> str:
    return "".join(f"\\{letter}" if letter in ":@=\\" else letter for letter in value)


def _error(what: str, stderr: str) -> Exception:
    lines = [line for line in stderr.splitlines() if line.strip()]
    said = lines[-1].split(": ")[-1] if lines else "qemu-img gave no reason"
    if "block-rbd" in stderr or "Unknown protocol" in stderr:
        return Permanent(f"{what}: QEMU cannot read RBD images here", help="install qemu-block-extra")
    if "timed out" in stderr:
        return Retry(f"{what}: {said}")
    return Refused(f"{what}: {said}")
