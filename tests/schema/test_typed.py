"""Values are read from JSON by many threads at once; the first time, too."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from pvc_core.schema.typed import from_json, from_plain

ROOT = Path(__file__).parents[2]

# With msgspec's own decode in place of from_json this process ends by SIGSEGV within its first dozen classes.
MANY_FIRST_TIMES = """
import dataclasses, sys, threading
from pvc_core.schema.typed import from_json
sys.setswitchinterval(1e-6)
names = [f"f{number}" for number in range(30)]
ones = ",".join(f'"{name}":1' for name in names)
data = ("{%s,%s:{%s}}" % (ones, '"inner"', ones)).encode()
for round in range(100):
    inner = dataclasses.make_dataclass("Inner", [(name, int) for name in names])
    kind = dataclasses.make_dataclass("Outer", [*((name, int) for name in names), ("inner", inner)])
    gate = threading.Barrier(4)
    def read():
        gate.wait()
        assert from_json(data, kind).inner.f29 == 1
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@dataclass(frozen=True)
class Disk:
    name: str
    size: int = 1


def test_the_first_readers_of_a_class_may_be_many() -> None:
    ended = subprocess.run([sys.executable, "-c", MANY_FIRST_TIMES], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_json_and_plain_data_become_values() -> None:
    assert from_json(b'{"name":"a","size":3}', Disk) == from_plain({"name": "a", "size": 3}, Disk) == Disk("a", 3)
    assert from_json(b'[{"name":"a"}]', list[Disk]) == [Disk("a")]


@pytest.mark.parametrize("text", [b"", b"{", b'{"size":3}', b'{"name":1}', b"[]"])
def test_what_is_no_such_value_is_told(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        from_json(text, Disk)


def test_nobody_goes_past_it() -> None:
    past = re.compile(r"msgspec\.convert\(|\bDecoder\(|json\.decode\(.*type=(?!dict|list\[msgspec\.Raw\])")
    files = [*ROOT.glob("pvc_core/**/*.py"), *ROOT.glob("plugins/*/pvc_*/**/*.py")]
    found = {file.relative_to(ROOT) for file in files if past.search(file.read_text())}
    assert found == {Path("pvc_core/schema/typed.py")}
