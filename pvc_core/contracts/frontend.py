# SPDX-License-Identifier: LGPL-3.0-or-later
"""A frontend shows the services to the outside: HTTP, a message bus, a web page. Runs in pvcapid, unprivileged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Event


class Frontend(ABC):
    """Built with the services as its only door to the cluster. `ready` is set (by serve) once it answers."""

    ready: Event

    @abstractmethod
    def serve(self) -> None:
        """Serve until `stop`; blocks. Raises Permanent if it cannot begin (address in use, bad certificate), in
        words.
        """

    @abstractmethod
    def stop(self) -> None:
        """Make `serve` return within five seconds: running requests end, streams are closed. From any thread;
        idempotent.
        """
