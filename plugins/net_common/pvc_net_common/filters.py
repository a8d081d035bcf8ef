# SPDX-License-Identifier: LGPL-3.0-or-later
"""ACLs and anti-spoofing of this node's networks, in the kernel: nft is told what rules.py says, one transaction for
each network, and only when something else is loaded. What is, is asked of the kernel: somebody may have flushed it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pvc_core.clock import Clock
from pvc_core.contracts.plugin import Completed
from pvc_core.errors import Permanent, Refused
from pvc_core.model.network import Acl, AclCount, AclDirection, Network
from pvc_net_common.names import bridge_name, tap_name
from pvc_net_common.rules import (
    FRAME,
    MARKS,
    NONE,
    TABLE,
    acl_text,
    chain,
    check_text,
    digest,
    leased_mark,
    leased_text,
    marked,
    no_network_text,
    no_port_text,
    port_text,
    separated,
)

LOAD_S = 20.0
FRESH_S = 2.0
"""So long what the kernel said is believed: 500 networks are looked at in one go."""


class Run(Protocol):
    """PluginContext.run."""

    def __call__(self, argv: Sequence[str], *, deadline_s: float, stdin: bytes = b"") -> Completed: ...


class Filters:
    """One for each driver; several may share the node's table. `enter`: words before nft (tests: a namespace)."""

    def __init__(self, run: Run, clock: Clock, *, enter: Sequence[str] = ()) -> None:
        self._run, self._clock, self._enter = run, clock, list(enter)
        self._lock = threading.Lock()
        self._marks: dict[str, str] = {}
        self._read_s = float("-inf")

    def ensure(self, network: Network, macs: Iterable[str], leased: Mapping[str, str] = NONE) -> bool:
        """The network's ACLs, and what the ports of these NICs may send, are loaded. True if anything was changed.
        `leased`: address -> MAC of the guest that it is lent to, who may use no other.

        Raises Permanent with nft's words when this node's kernel does not take them: what was loaded stays.
        """
        parts = {bridge_name(network.vni): acl_text(network)}
        parts[leased_mark(network.vni)] = leased_text(network, leased)
        parts |= {tap_name(mac): port_text(network, mac, leased) for mac in sorted(macs)}
        with self._lock:
            loaded = self._loaded()
            new = {device: text for device, text in parts.items() if loaded.get(device) != digest(text)}
            if not new:
                return False
            done = self._nft(FRAME + "".join(text + marked(device, text) for device, text in new.items()))
            if done.returncode:
                self._read_s = float("-inf")
                raise Permanent(
                    f"nft does not take the rules of network {network.ref} here: {_words(done.stderr)}",
                    help="remove the ACL that this node's kernel cannot have",
                )
            self._marks |= {device: digest(text) for device, text in new.items()}
        return True

    def unplug(self, mac: str) -> None:
        """Nothing is left for this NIC. Never plugged: fine."""
        with self._lock:
            if tap_name(mac) in self._loaded(fresh=True):
                self._change(no_port_text(mac))

    def remove(self, vni: int) -> None:
        """Nothing is left of the network, nor of ports that led to it. Never there: fine."""
        with self._lock:
            if bridge_name(vni) not in self._loaded(fresh=True):
                return
            self._change("".join(map(no_port_text, self._led_to(vni))) + no_network_text(vni))

    def check(self, acl: Acl) -> None:
        """Raises Refused with nft's own words unless this kernel takes the rule; changes nothing."""
        done = self._nft(check_text(acl), "--check")
        if done.returncode == 0 and not separated(acl.rule):
            return
        said = _words(done.stderr) or "it is more than one statement"
        raise Refused(
            f"nft does not take the rule {acl.rule!r}: {said}", help="one statement, like: tcp dport 22 accept"
        )

    def counts(self, network: Network) -> list[AclCount]:
        """What each ACL has matched on this node since it was loaded."""
        found = []
        for direction in AclDirection:
            rules = [item["rule"] for item in self._list("chain", chain(network.vni, direction)) if "rule" in item]
            for acl, rule in zip(network.acls_of(direction), rules, strict=False):
                counters = [part["counter"] for part in rule["expr"] if isinstance(part.get("counter"), dict)]
                packets, size = (counters[0]["packets"], counters[0]["bytes"]) if counters else (0, 0)
                found.append(AclCount(name=acl.name, packets=packets, bytes=size))
        return found

    def _loaded(self, *, fresh: bool = False) -> dict[str, str]:
        now_s = self._clock.boottime_s()
        if fresh or now_s - self._read_s > FRESH_S:
            self._marks, self._read_s = {}, now_s
            for item in self._list("set", MARKS):
                for element in item.get("set", {}).get("elem", ()):
                    inner = element["elem"] if isinstance(element, dict) else {"val": element}
                    self._marks[inner["val"]] = inner.get("comment", "")
        return self._marks

    def _led_to(self, vni: int) -> list[str]:
        """The NICs whose ports lead to chains of this network: of guests that went without a word."""
        mine, macs = {chain(vni, direction) for direction in AclDirection}, set()
        for item in self._list("table", ""):
            rule = item.get("rule", {})
            _, _, word = rule.get("chain", "").partition("from_")
            if word and any(part.get("goto", {}).get("target") in mine for part in rule["expr"] if "goto" in part):
                macs.add(word)
        return sorted(macs)

    def _change(self, text: str) -> None:
        self._read_s = float("-inf")
        done = self._nft(FRAME + text)
        if done.returncode:
            raise Permanent(f"nft did not take rules away: {_words(done.stderr)}")

    def _list(self, what: str, name: str) -> list[dict[str, Any]]:
        """Empty when it is not there."""
        done = self._run(
            [*self._enter, "nft", "-j", "list", what, "bridge", TABLE, *([name] if name else [])], deadline_s=LOAD_S
        )
        return list(json.loads(done.stdout)["nftables"]) if done.returncode == 0 else []

    def _nft(self, text: str, *more: str) -> Completed:
        return self._run([*self._enter, "nft", *more, "-f", "-"], deadline_s=LOAD_S, stdin=text.encode())


def _words(said: str) -> str:
    """nft's complaint without the text of ours around it: "syntax error, unexpected drop (at "drop")"."""
    lines = said.splitlines()
    for at, line in enumerate(lines):
        _, found, complaint = line.partition("Error: ")
        if found:
            place = ""
            if at + 2 < len(lines) and "^" in lines[at + 2]:
                caret = lines[at + 2]
                place = lines[at + 1][caret.index("^") : caret.rindex("^") + 1].strip()
            return f"{complaint} (at {place!r})" if place else complaint
    return " ".join(lines)[:400]
