"""What one node seals every node can open, for the same purpose and thing only."""

from __future__ import annotations

import pytest

from pvc_core.errors import Permanent
from pvc_core.founding.node_seal import seal, unseal


def test_what_is_sealed_is_opened() -> None:
    sealed = seal("s", "fence_ipmi", "hv1", "geheim ü")
    assert unseal("s", "fence_ipmi", "hv1", sealed) == "geheim ü"
    assert "geheim" not in sealed and sealed != seal("s", "fence_ipmi", "hv1", "geheim ü")


@pytest.mark.parametrize(
    ("secret", "purpose", "label"), [("t", "fence_ipmi", "hv1"), ("s", "other", "hv1"), ("s", "fence_ipmi", "hv2")]
)
def test_for_anything_else_it_stays_closed(secret: str, purpose: str, label: str) -> None:
    with pytest.raises(Permanent, match=f"sealed for {label}"):
        unseal(secret, purpose, label, seal("s", "fence_ipmi", "hv1", "x"))


@pytest.mark.parametrize("change", [lambda s: s[:-6] + "AAAA==", lambda s: "", lambda s: "plain", lambda s: s[:12]])
def test_what_was_changed_stays_closed(change: object) -> None:
    with pytest.raises(Permanent):
        unseal("s", "p", "l", change(seal("s", "p", "l", "text")))
