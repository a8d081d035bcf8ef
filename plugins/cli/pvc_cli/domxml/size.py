"""vCPUs and memory in a definition."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

from pvc_cli.domxml.tree import parse, required, whole_text_of
from pvc_cli.errors import CliError

MIB_OF_UNIT = {
    "b": 1 / 1048576, "bytes": 1 / 1048576, "KB": 1000 / 1048576, "k": 1 / 1024, "K": 1 / 1024, "KiB": 1 / 1024,
    "MB": 1e6 / 1048576, "m": 1, "M": 1, "MiB": 1, "GB": 1e9 / 1048576, "g": 1024, "G": 1024, "GiB": 1024,
    "TB": 1e12 / 1048576, "t": 1 << 20, "T": 1 << 20, "TiB": 1 << 20,
}  # fmt: skip


@dataclass(frozen=True)
class Topology:
    sockets: int
    cores: int
    threads: int

    @classmethod
    def parsed(cls, text: str) -> Topology:
        """From "S,C,T". Raises CliError for anything else."""
        match = re.fullmatch(r"([1-9]\d*)[,/]([1-9]\d*)[,/]([1-9]\d*)", text)
        if not match:
            raise CliError(f'"{text}" is no CPU topology.', help="give sockets,cores,threads, for example 1,4,1")
        return cls(*(int(part) for part in match.groups()))

    @property
    def vcpus(self) -> int:
        return self.sockets * self.cores * self.threads


def with_vcpus(xml: str, vcpus: int, topology: Topology | None) -> str:
    """The definition with that many vCPUs; without a topology one socket with one thread per core."""
    topology = topology or Topology(1, vcpus, 1)
    if topology.vcpus != vcpus:
        made = f"{topology.sockets} sockets of {topology.cores} cores with {topology.threads} threads"
        raise CliError(f"{made} make {topology.vcpus} CPUs, not {vcpus}.")
    root = parse(xml)
    required(root, "vcpu").text = str(vcpus)
    cpu = root.find("cpu")
    if cpu is None:
        cpu = etree.SubElement(root, "cpu")
    element = cpu.find("topology")
    if element is None:
        element = etree.SubElement(cpu, "topology")
    element.set("sockets", str(topology.sockets))
    element.set("cores", str(topology.cores))
    element.set("threads", str(topology.threads))
    return whole_text_of(root)


def with_memory(xml: str, memory_mib: int) -> str:
    """The definition with that much memory; <currentMemory>, which would keep the guest at its old size, goes along."""
    root = parse(xml)
    for name in ("memory", "currentMemory"):
        element = required(root, "memory") if name == "memory" else root.find(name)
        if element is not None:
            element.text = str(memory_mib)
            element.set("unit", "MiB")
    return whole_text_of(root)


def memory_mib(xml: str) -> int:
    element = required(parse(xml), "memory")
    return int(float(element.text or 0) * MIB_OF_UNIT.get(element.get("unit", "KiB"), 1 / 1024))
