"""What ZooKeeper's servers say in their own words (`mntr`, ZooKeeper 3.8 administrator's guide) as text for Prometheus,
under the names that ZooKeeper's own exporter gives: `zk_` left out, quantiles as labels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99", "p999": "0.999"}
KEY = re.compile(r"zk_(?:(p50|p95|p99|p999|cnt|sum)_)?(\w+)")
Sample = tuple[str, str, str]
"""(family, the rest of the line's head, value)."""


def store_text(servers: Mapping[str, str]) -> str:
    """Every server's samples have its coordinator's name as label `server`; `up` tells which answered.

    >>> print(store_text({"hv1": "zk_znode_count\\t7\\nzk_server_state\\tleader\\n"}), end="")
    # TYPE server_state gauge
    server_state{server="hv1",state="leader"} 1
    # TYPE znode_count gauge
    znode_count{server="hv1"} 7
    # TYPE zookeeper_up gauge
    zookeeper_up{server="hv1"} 1
    """
    families: dict[str, list[str]] = defaultdict(list)
    summaries: set[str] = set()
    for server, text in servers.items():
        families["zookeeper_up"].append(f'zookeeper_up{{server="{server}"}} {int(bool(text))}')
        lines = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
        for family, head, value in _samples(lines, server):
            families[family].append(f"{head} {value}")
            if head.startswith(f"{family}_") or "quantile=" in head:
                summaries.add(family)
    kinds = {name: "summary" if name in summaries else "gauge" for name in families}
    return "".join(f"# TYPE {name} {kinds[name]}\n" + "\n".join(families[name]) + "\n" for name in sorted(families))


def _samples(lines: Mapping[str, str], server: str) -> Iterator[Sample]:
    counted = {key.removeprefix("zk_cnt_") for key in lines if key.startswith("zk_cnt_")}
    for key, value in lines.items():
        found, label = KEY.fullmatch(key), f'server="{server}"'
        if found is None:
            continue
        part, name = found[1], found[2]
        if key == "zk_server_state":
            yield name, f'{name}{{{label},state="{value}"}}', "1"
        elif not _is_number(value):
            continue
        elif part and name in counted:
            yield name, _of_summary(part, name, label), value
        else:
            whole = key.removeprefix("zk_")
            yield whole, f"{whole}{{{label}}}", value


def _of_summary(part: str, name: str, label: str) -> str:
    if part in QUANTILES:
        return f'{name}{{{label},quantile="{QUANTILES[part]}"}}'
    return f"{name}_{'count' if part == 'cnt' else 'sum'}{{{label}}}"


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
