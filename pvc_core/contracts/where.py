# SPDX-License-Identifier: LGPL-3.0-or-later
"""Marks on driver calls: does it act on this node, or on something all nodes share?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])


def on_node(call: _F) -> _F:
    """Marks a driver call that acts on the node it runs on: every node calls it for itself."""
    call.__pvc_where__ = "node"  # type: ignore[attr-defined]  # a mark for the core and the conformance suites
    return call


def once(call: _F) -> _F:
    """Marks a driver call that acts on something all nodes share: one node calls it for all."""
    call.__pvc_where__ = "once"  # type: ignore[attr-defined]  # a mark for the core and the conformance suites
    return call
