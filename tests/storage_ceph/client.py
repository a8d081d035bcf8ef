"""A client of one RBD image, as a QEMU is one: `python -P client.py CONF USER KEY-FILE POOL IMAGE watching|reading`.

Says its address; then writes one block for every line it is told, and says whether that was let in.
"""

from __future__ import annotations

import sys
from typing import Any

from pvc_storage_ceph.bindings import load

_LIMIT_S = "20"


class Client:
    """`watching`: it has the image open, and is in Ceph's lists; else it has only connected so far."""

    def __init__(self, conf: str, user: str, key: str, pool: str, image: str, *, watching: bool) -> None:
        self._rados, self._rbd = load()
        self._name = image
        settings = {"key": key, "rados_osd_op_timeout": _LIMIT_S, "log_file": "", "err_to_stderr": "false"}
        handle = self._rados.Rados(conffile=conf, name=f"client.{user}", conf=settings)
        handle.connect()
        self.address = str(handle.get_addrs()).removeprefix("v1:").removeprefix("v2:").removeprefix("any:")
        self._io = handle.open_ioctx(pool)
        self._image: Any = self._opened() if watching else None

    def write(self) -> bool:
        try:
            self._image = self._image or self._opened()
            self._image.write(b"x" * 512, 0)
            self._image.flush()
        except (self._rados.Error, self._rbd.Error):
            return False
        return True

    def _opened(self) -> Any:
        return self._rbd.Image(self._io, self._name)


def main() -> None:
    conf, user, key_file, pool, image, how = sys.argv[1:]
    with open(key_file) as file:
        client = Client(conf, user, file.read().strip(), pool, image, watching=how == "watching")
    print(client.address, flush=True)
    for _line in sys.stdin:
        print("yes" if client.write() else "no", flush=True)


if __name__ == "__main__":
    main()
