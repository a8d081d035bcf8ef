"""Definitions of small guests for the tests, well-formed and not. Real ones come from lab/guest_xml.py."""

from __future__ import annotations

import re

from lab.guest_xml import guest_xml


def xml(name: str, *, volume: str = "", uuid: str | None = None, bridge: str = "brupstream", memory: str = "64") -> str:
    """A definition; `volume` "" leaves the disk out, `uuid` "" the UUID."""
    text = guest_xml(name, pool="vms", volume=volume or "none", bridge=bridge)
    if not volume:
        text = re.sub(r"    <disk .*?</disk>\n", "", text, flags=re.DOTALL)
    if uuid is not None:
        line = f"  <uuid>{uuid}</uuid>\n" if uuid else ""
        text = re.sub(r"  <uuid>.*?</uuid>\n", line, text)
    return text.replace(">160</memory>", f">{memory}</memory>")


def with_element(text: str, element: str) -> str:
    """`element` as the last one of <devices>."""
    return text.replace("  </devices>", f"    {element}\n  </devices>")
