"""Hosts in network namespaces of their own, on one switch: real kernels, real packets, nothing of the machine's.

A namespace lives as long as the file descriptor that the rig holds; code under test runs in a thread inside it.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """One namespace, with its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fd = -1
        _in_thread(self._make)
        self.ip("link set lo up")

    def run(self, call: Callable[[], T]) -> T:
        """`call()` inside; its exception is raised here."""

        def inside() -> T:
            _checked(_libc.setns(self._fd, _CLONE_NEWNET))
            return call()

        return _in_thread(inside)

    def sh(self, command: str) -> str:
        argv = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._fd}", "sh", "-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def ip(self, command: str) -> Any:
        out = self.sh(f"ip -j {command}")
        return json.loads(out) if out.strip() else []

    def addresses(self, device: str, family: str = "inet") -> list[str]:
        found = self.ip(f"addr show dev {device}")
        return [
            f"{item['local']}/{item['prefixlen']}"
            for item in found[0]["addr_info"]
            if item["family"] == family and item["scope"] != "link"
        ]

    def link(self, device: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ip(f"-d link show dev {device}")[0]
        return found

    def reaches(self, ip: str, *, within_s: float = 2.0) -> bool:
        """Whether somebody answers there: also "no such port" is an answer."""

        def connect() -> bool:
            try:
                socket.create_connection((ip, 9), timeout=within_s).close()
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
            return True

        return self.run(connect)

    def close(self) -> None:
        os.close(self._fd)

    def _make(self) -> None:
        _checked(_libc.unshare(_CLONE_NEWNET))
        self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)


class Wire:
    """A switch, and hosts with one cable each (eth0)."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self.switch = self._host("switch")
        self.switch.ip("link add sw type bridge forward_delay 0")
        self.switch.ip("link set sw up")
        self.switch.sh("for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done")

    def host(self, name: str, *, mtu: int = 1500) -> Host:
        made = self._host(name)
        peer = f"/proc/{os.getpid()}/fd/{made._fd}"
        self.switch.ip(f"link add to-{name} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {peer}")
        self.switch.ip(f"link set to-{name} master sw up")
        made.sh("for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done")
        return made

    def _host(self, name: str) -> Host:
        self.hosts.append(Host(name))
        return self.hosts[-1]

    def close(self) -> None:
        for host in self.hosts:
            host.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Wire()
    yield made
    made.close()


def _in_thread(call: Callable[[], T]) -> T:
    answer: list[T] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as caught:  # raised again in the test's own thread
            error.append(caught)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if error:
        raise error[0]
    return answer[0]


def _checked(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
