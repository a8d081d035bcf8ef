"""Sending a file of this machine to the API in pieces, with a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pvc_cli.api import Answer
from pvc_cli.app import App
from pvc_cli.multipart import file_body


def upload_file(app: App, where: str, file_path: Path, **params: str | None) -> Answer:
    """Raises ApiError for what the API has against it."""
    size_bytes = file_path.stat().st_size
    with file_path.open("rb") as file, progress(app, file_path.name, size_bytes) as sent:
        content_type, body = file_body("file", file, sent)
        return app.api.upload(where, content_type, body, file_size=size_bytes, **params)


def download_file(app: App, where: str, target: Path, **params: str | int | None) -> int:
    """How many bytes were written; a file that is there is only replaced by a whole one."""
    part = target.with_name(f"{target.name}.part")
    count = 0
    try:
        with part.open("wb") as file:
            for piece in app.api.download(where, **params):
                file.write(piece)
                count += len(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count


@contextmanager
def progress(app: App, label: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
    if app.out.quiet or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as shown:
        bar = shown.add_task(label, total=size_bytes)
        yield lambda count: shown.advance(bar, count)
