"""What many bodies share: the sentence every object has, units, and what changes are answered with.

Bodies are TypedDicts: mypy holds those who make them to it, and openapi.py shows them to the world, docstrings and all.
"""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

Mib = Annotated[int, Meta(description="in MiB")]
Kib = Annotated[int, Meta(description="in KiB")]
Bytes = Annotated[int, Meta(description="in bytes")]
Percent = Annotated[float, Meta(description="in percent")]
Nanoseconds = Annotated[int, Meta(description="in ns")]
UtcTime = Annotated[str, Meta(description='YYYY-MM-DD HH:MM:SS in UTC; "" for never')]


class Object(TypedDict):
    status: Annotated[str, Meta(description="one sentence: how far it is, and why")]
    stale_s: NotRequired[
        Annotated[int, Meta(description="only while the store does not answer: how old this may be, in seconds")]
    ]


class Message(TypedDict):
    message: Annotated[str, Meta(description="one sentence")]


class Started(TypedDict):
    """What a task is answered with (202)."""

    task_id: str
    task_name: str
    run_on: Annotated[str, Meta(description="the node that does it")]
