# SPDX-License-Identifier: LGPL-3.0-or-later
"""One line of `pvc cluster check`: what was looked at, whether it is well, and what helps if not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """`text` is a sentence either way; `remedy` tells what helps, and is not empty when `ok` is False."""

    topic: str
    """A word or two ("quorum", "libvirt TLS"); lines of one topic stand together."""
    text: str
    ok: bool = True
    remedy: str = ""
    node: str = ""
    """Where it was seen; "" for the cluster as a whole."""
    same: str = ""
    """What ought to be the same on all nodes, like a version: those that differ become a finding."""
