"""`pvc key` and `pvc cluster audit`."""

from __future__ import annotations

from typing import Any

from conftest import Reply

KEY = {"name": "robot", "role": "read-only", "description": "graphs", "created_at": 1.7e9}
ENTRY = {
    "at": "2026-01-02 03:04:05", "at_s": 1.0, "by": "robot", "role": "operator", "source": "10.0.0.9",
    "action": "DELETE /vm/web1", "args": "delete_disks=True", "status": 400, "result": "no such VM", "request_id": "r1",
}  # fmt: skip


def test_a_new_key_stands_alone_on_standard_output(pvc: Any, api: Any) -> None:
    api.on("POST /key", Reply(200, {"message": "Key robot has role read-only.", "name": "robot", "key": "robot.abc"}))
    result = pvc("key", "add", "robot", "--role", "read-only", "-d", "graphs")
    assert (result.code, result.out) == (0, "robot.abc\n") and "read-only" in result.err
    assert api.last.query == {"name": ["robot"], "role": ["read-only"], "description": ["graphs"]}
    assert pvc("key", "add", "robot", "--role", "god").code == 2


def test_keys_are_listed(pvc: Any, api: Any) -> None:
    api.on("GET /key", Reply(200, [KEY]))
    assert all(word in pvc("key", "list").out for word in ("robot", "read-only", "2023-11-14", "graphs"))
    assert pvc("key", "list", "-f", "raw").out == "robot\n"


def test_the_audit_log_ends_with_the_last(pvc: Any, api: Any) -> None:
    api.on("GET /audit", Reply(200, [{**ENTRY, "by": "newest"}, ENTRY]))
    out = pvc("cluster", "audit", "^rob", "-l", "5").out
    assert out.index("robot") < out.index("newest") and "delete_disks=True" in out and "10.0.0.9" in out
    assert api.last.query == {"limit": ["^rob"], "lines": ["5"]}
