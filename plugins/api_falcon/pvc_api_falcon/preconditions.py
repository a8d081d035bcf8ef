"""ETags of all that can be changed, and If-Match (RFC 9110, 13.1.1): nothing is written over that changed meanwhile.

The comparison here is for the answer; that nobody slips in between is seen to by the commit itself (Desk.expecting).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pvc_api_falcon.errors import ChangedMeanwhile
from pvc_api_falcon.route import Answer, Call, Route, Streamed
from pvc_core.errors import Refused
from pvc_core.services import Services
from pvc_core.services.versions import NONE_YET, Version, version_of

Does = Callable[[Call], Answer | Streamed]


def has_version(route: Route) -> bool:
    """Whether its object can be read with an ETag, and changed with If-Match."""
    words = ("{vm}", "{vni}", "{pool}", "{node}", "{key}", "{fault_id}")
    return any(word in route.path for word in words) and not route.upload


def etag(version: Version) -> str:
    return f'"{version.stamp:x}"'


def current(services: Services, names: Mapping[str, str]) -> Version | None:
    return version_of(services.desk.view, names)


def bound(does: Does, call: Call) -> Answer | Streamed:
    """`does`, if the object is still what If-Match says. Raises ChangedMeanwhile."""
    if not call.if_match or call.if_match.strip() == "*":
        return does(call)
    read = current(call.services, call.names)
    if read is None:
        return does(call)  # which says that there is none
    if f"{read.stamp:x}" not in _stamps(call.if_match):
        raise _changed(call)
    if read.version == NONE_YET:
        return does(call)  # which makes the record, or fails where another made it
    try:
        with call.services.desk.expecting(read.kind, read.id, read.version):
            return does(call)
    except Refused:
        now = current(call.services, call.names)
        if now is None or now.stamp != read.stamp:
            raise _changed(call) from None
        raise


def _stamps(if_match: str) -> set[str]:
    """Of each ETag in the list. What follows a "-" tells what was seen of it, which is no change of what is wanted."""
    return {one.strip().removeprefix("W/").strip('"').partition("-")[0] for one in if_match.split(",")}


def _changed(call: Call) -> ChangedMeanwhile:
    what = " ".join(f"{'VM' if word == 'vm' else word} {name}" for word, name in call.names.items())
    kept = call.services.desk.view.vm(call.names.get("vm", ""))
    by = (kept.value.asked_by if kept else "") or "someone"
    return ChangedMeanwhile(f"{what} was changed by {by} since you read it", help="read it again")
