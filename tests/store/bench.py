"""Figures of the store, pvcstored and ZooKeeper side by side: python -m tests.store.bench

Not a test: on a shared machine times vary twofold and more, so compare the columns, not the days.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pvc_core.store.base import Create
from pvc_core.store.zookeeper import ZooKeeperStore

from .rigs import Pvcstored, ServerProcess, ZooKeeper

KEYS = 10_000


def main() -> int:
    columns: list[dict[str, str]] = []
    for kind in (Pvcstored, ZooKeeper):
        with tempfile.TemporaryDirectory() as directory:
            server = kind(Path(directory))
            server.start()
            try:
                columns.append(measure(server))
            finally:
                server.kill()
    print(f"{'':44}{'pvcstored':>14}{'ZooKeeper':>14}")
    for name in columns[0]:
        print(f"{name:44}{columns[0][name]:>14}{columns[1][name]:>14}")
    return 0


def measure(server: ServerProcess) -> dict[str, str]:
    figures = {"memory, empty": memory(server)}
    store, other = ZooKeeperStore(server.hosts), ZooKeeperStore(server.hosts)
    store.create("/bench/one", b"")
    value = bytes(300)
    for _ in range(300):
        store.put("/bench/one", value, if_version=None)
    figures |= spread("get", lambda: store.get("/bench/one"))
    figures |= spread("put 300 bytes", lambda: store.put("/bench/one", value, if_version=None))
    figures["put to event in another client p50"] = event(store, other)
    figures["puts a second, 8 threads of 1 client"] = throughput(store, value)
    begin_s = time.monotonic()
    for start in range(0, KEYS, 100):
        store.commit([Create(f"/bench/many/{number}", value) for number in range(start, start + 100)])
    figures[f"{KEYS} creates in commits of 100"] = f"{time.monotonic() - begin_s:.2f} s"
    times = []
    for _ in range(5):
        begin_s = time.monotonic()
        assert len(other.tree("/bench")) == KEYS + 3
        times.append(time.monotonic() - begin_s)
    figures[f"tree of {KEYS} keys p50"] = f"{statistics.median(times) * 1000:.0f} ms"
    figures[f"memory, {KEYS} keys"] = memory(server)
    store.close()
    other.close()
    return figures


def spread(name: str, work: Callable[[], object], times: int = 500) -> dict[str, str]:
    taken = []
    for _ in range(times):
        begin_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin_s)
    taken.sort()
    return {
        f"{name} p50": f"{taken[times // 2] * 1000:.2f} ms",
        f"{name} p99": f"{taken[times * 99 // 100] * 1000:.2f} ms",
    }


def event(store: ZooKeeperStore, other: ZooKeeperStore, times: int = 200) -> str:
    heard = threading.Event()
    other.watch("/bench", lambda key: heard.set())
    heard.wait(5)
    taken = []
    for _ in range(times):
        time.sleep(0.002)
        heard.clear()
        begin_s = time.perf_counter()
        store.put("/bench/one", b"", if_version=None)
        heard.wait(5)
        taken.append(time.perf_counter() - begin_s)
    return f"{statistics.median(taken) * 1000:.2f} ms"


def throughput(store: ZooKeeperStore, value: bytes, threads: int = 8, each: int = 200) -> str:
    def work(number: int) -> None:
        for _ in range(each):
            store.put(f"/bench/t{number}", value, if_version=None)

    for number in range(threads):
        store.create(f"/bench/t{number}", b"")
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    begin_s = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken_s = time.monotonic() - begin_s
    for number in range(threads):
        store.delete(f"/bench/t{number}", if_version=None)
    return f"{threads * each / taken_s:.0f}"


def memory(server: ServerProcess) -> str:
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return f"{int(line.split()[1]) // 1024} MB"
    return "?"


if __name__ == "__main__":
    sys.exit(main())
