"""The configuration a node last worked with, so that one with guests can still say who it is when pvc.yaml is broken.

When it is used (custody) is decided in daemon/.
"""

from __future__ import annotations

import os
from pathlib import Path

from pvc_core.config.read import load
from pvc_core.config.sections import Config
from pvc_core.errors import Permanent

NAME = "last-good.yaml"


class LastGood:
    """Keeps one file below `paths.state`, readable for root alone."""

    def __init__(self, state: Path) -> None:
        self.path = state / NAME

    def save(self, config: Config) -> None:
        """Keep the text of `config`. Equal already: touches nothing. Raises Permanent when it cannot be written."""
        try:
            if self.path.exists() and self.path.read_text(encoding="utf-8") == config.text:
                return
            self._replace(config.text.encode())
        except OSError as error:
            raise Permanent(
                f"the working configuration could not be kept at {self.path}: {error.strerror}",
                help="make room or mend the directory; without it a broken pvc.yaml cannot be survived",
            ) from None

    def restore(self, *, node: str | None) -> Config | None:
        """The kept configuration for the node of that name (None: this host's), None when none was kept.

        Raises ConfigError if it is broken.
        """
        return load(self.path, node=node) if self.path.exists() else None

    def _replace(self, data: bytes) -> None:
        """All or nothing, also across a loss of power."""
        new = self.path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
