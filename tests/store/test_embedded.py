"""The rooms of pvcstored by themselves: the tree's way back, and that the disk holds what the memory holds."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from pvc_core.store.embedded import protocol
from pvc_core.store.embedded.journal import Journal
from pvc_core.store.embedded.protocol import Declined, Malformed, Reader
from pvc_core.store.embedded.rights import OPEN
from pvc_core.store.embedded.tree import Tree

NAMES = ["a", "b", "c", "a/x", "a/y", "b/x", "a/x/1", "a/x/2", "é"]
READ_ONLY = ((1, "world", "anyone"), (31, "digest", "u:h"))


def picture(tree: Tree) -> dict[str, object]:
    """Everything one can see of a tree."""
    seen: dict[str, object] = {}
    todo = ["/"]
    while todo:
        path = todo.pop()
        node = tree.find(path)
        children = sorted(node.children or ())
        seen[path] = (node.data, node.acl, node.stat(), children)
        todo += [f"/{name}" if path == "/" else f"{path}/{name}" for name in children]
    return seen


def step(tree: Tree, dice: random.Random, owners: list[int]) -> None:
    """One random request, taken back when it is declined, as the server does."""
    tree.next_zxid()
    mark = tree.undo.mark()
    path, me = "/" + dice.choice(NAMES), {("digest", "u:h")}
    changed = dict(tree.changed)
    try:
        match dice.randrange(6):
            case 0 | 1:
                owner = dice.choice([0, 0, 0, *owners])
                data = dice.choice([None, b"", dice.randbytes(20)])
                tree.create(path, data, OPEN, me, owner=owner, sequential=dice.random() < 0.2)
            case 2:
                tree.delete(path, dice.choice([-1, 0, 1]), me)
            case 3:
                tree.set_data(path, dice.randbytes(8), dice.choice([-1, 0, 1, 2]), me)
            case 4:
                tree.set_acl(path, dice.choice([OPEN, READ_ONLY]), -1, me)
            case 5 if owners:
                tree.end_session(dice.choice(owners))
    except Declined:
        tree.take_back(mark)
        tree.changed.update(changed)


@pytest.mark.parametrize("seed", range(30))
def test_the_way_back_leads_to_where_it_began(seed: int) -> None:
    dice, tree = random.Random(seed), Tree(1)
    for _ in range(40):
        step(tree, dice, [7, 8])
    tree.undo.forget()
    before, ephemerals = picture(tree), {owner: set(paths) for owner, paths in tree.ephemerals.items() if paths}
    for _ in range(30):
        step(tree, dice, [7, 8])
    tree.undo.back_to(0)
    assert picture(tree) == before
    assert {owner: set(paths) for owner, paths in tree.ephemerals.items() if paths} == ephemerals


@pytest.mark.parametrize("seed", range(10))
def test_the_disk_holds_what_the_memory_holds(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    for _ in range(3):
        journal = Journal(tmp_path / "store.db")
        tree = journal.load()
        highest = tree.zxid
        for _ in range(15):
            for _ in range(dice.randint(1, 6)):
                step(tree, dice, [7])
            journal.write(tree.changed, tree)
            tree.changed.clear()
        tree.end_session(7)
        journal.write(tree.changed, tree)
        kept = picture(tree)
        journal.close()
        journal = Journal(tmp_path / "store.db")
        again = journal.load()
        assert picture(again) == kept
        assert again.zxid > tree.zxid > highest
        journal.close()


def test_ephemeral_keys_are_not_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "store.db")
    tree = journal.load()
    tree.next_zxid()
    tree.create("/mine", b"", OPEN, set(), owner=5)
    tree.create("/stays", b"", OPEN, set())
    journal.write(tree.changed, tree)
    journal.close()
    again = Journal(tmp_path / "store.db")
    assert set(picture(again.load())) == {"/", "/stays"}
    again.close()


def test_child_versions_count_as_zookeeper_does() -> None:
    """Creations and deletions of children each count one."""
    tree = Tree(1)
    for name in ("a", "b", "c"):
        tree.create(f"/{name}", b"", OPEN, set())
    tree.delete("/b", -1, set())
    assert struct.unpack(">qqqqiiiqiiq", tree.find("/").stat())[5] == 4


def test_a_packet_that_lies_is_malformed() -> None:
    for packet in (
        b"",
        b"\0\0",
        protocol.number(5) + b"abc",
        protocol.number(2**31 - 1),
        protocol.number(2) + b"\xff\xfe",
    ):
        with pytest.raises(Malformed):
            Reader(packet).string()
    with pytest.raises(Malformed):
        Reader(protocol.number(1_000_000)).acl()
