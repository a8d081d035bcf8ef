"""Memory of emulated guests whose writes QEMU sees while it copies them: QEMU before 9.0 loses some.

Between two rounds of copying, QEMU notes which pages were written. For memory that is a multiple of 64 pages it takes
that note a word at a time, and does not tell its own emulated CPU that the next write is to be noted again: what is
written to that page until the CPU's table of pages is emptied stays behind, and the guest goes on with old pages
(mended in QEMU 9.0, commit 03bfc2188f; KVM notes writes otherwise). The way for other sizes is right, so an emulated
guest gets two pages more than it has. How often it happened: docs/migration.md. What starts guests is driver.py.
"""

from __future__ import annotations

from pvc_compute_libvirt import describe as read
from pvc_compute_libvirt.text import Edits, Element, parse
from pvc_core.units import KIB, MIB

MENDED = 9_000_000
"""QEMU 9.0, as libvirt counts versions."""
QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
MORE_KIB = 8
"""The smallest step in which QEMU sizes memory."""
_ELSEWHERE = ("memoryBacking", "maxMemory", "cpu/numa", "devices/memory")


def with_noted_memory(xml: str, *, virt_type: str, qemu: int) -> str:
    """The XML of a guest that is about to start. Unchanged where nothing is lost, and where the user says himself how
    memory is made or what QEMU is told. The arguments travel with the guest, whose sides must agree in size.
    """
    if virt_type != "qemu" or qemu >= MENDED:
        return xml
    document = parse(xml, root=("domain",))
    if not _has_plain_memory(document.root):
        return xml
    edits = Edits(document)
    edits.insert_first(document.root, _arguments(read.memory_bytes(document.root)))
    return edits.text()


def _has_plain_memory(root: Element) -> bool:
    os_type = root.find("os/type")
    is_pc = os_type is not None and os_type.get("machine").startswith(("pc", "q35"))
    own_words = any(child.tag == f"{QEMU_NAMESPACE} commandline" for child in root.children)
    return is_pc and not own_words and not any(root.find(path) for path in _ELSEWHERE)


def _arguments(memory_bytes: int) -> str:
    """In place of what libvirt says, which knows whole MiB only: of arguments given twice QEMU takes the last."""
    size_kib = -(-memory_bytes // MIB) * (MIB // KIB) + MORE_KIB
    words = (
        *("-m", f"size={size_kib}k"),
        *("-object", f"memory-backend-ram,id=pvc.ram,size={size_kib * KIB}"),
        *("-machine", "memory-backend=pvc.ram"),
    )
    arguments = "".join(f'<qemu:arg value="{word}"/>' for word in words)
    return f'<qemu:commandline xmlns:qemu="{QEMU_NAMESPACE}">{arguments}</qemu:commandline>'
