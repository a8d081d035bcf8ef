"""How many files and connections a daemon may have open."""

from __future__ import annotations

import resource

WANTED = 65_536


def allow_many_files(wanted: int = WANTED) -> int:
    """As many as the system lets this process have, `wanted` at most; how many that is.

    systemd starts services with 1,024 (for programs that use select(2), which these do not) and lets them ask for more.
    An API with that many clients could neither accept another nor say so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    best = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < best:
        resource.setrlimit(resource.RLIMIT_NOFILE, (best, hard))
    return max(soft, best)
