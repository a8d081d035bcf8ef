"""What PVC's API v1 has and this version has not yet: known paths that answer 501 and say so, instead of 404."""

from __future__ import annotations

from pvc_api_falcon.errors import NotYet
from pvc_api_falcon.route import Answer, Call, Handler, Route

PENDING: tuple[tuple[str, str], ...] = (
    ("POST DELETE", "/vm/{vm}/backup"),
    ("POST", "/vm/{vm}/restore"),
    ("POST DELETE", "/vm/{vm}/snapshot"),
    ("POST", "/vm/{vm}/snapshot/rollback"),
    ("POST", "/vm/{vm}/snapshot/export"),
    ("POST", "/vm/{vm}/snapshot/import"),
    ("POST", "/vm/{vm}/snapshot/send"),
    ("POST PUT PATCH", "/vm/{vm}/snapshot/receive/block"),
    ("POST", "/vm/{vm}/snapshot/receive/config"),
    ("POST", "/vm/{vm}/mirror/create"),
    ("POST", "/vm/{vm}/mirror/promote"),
    ("POST", "/vm/autobackup"),
    ("POST", "/vm/automirror"),
    ("GET", "/provisioner"),
    ("GET", "/provisioner/template"),
    ("GET POST", "/provisioner/template/system"),
    ("GET POST PUT DELETE", "/provisioner/template/system/{template}"),
    ("GET POST", "/provisioner/template/network"),
    ("GET POST DELETE", "/provisioner/template/network/{template}"),
    ("GET POST", "/provisioner/template/network/{template}/net"),
    ("GET POST DELETE", "/provisioner/template/network/{template}/net/{vni}"),
    ("GET POST", "/provisioner/template/storage"),
    ("GET POST DELETE", "/provisioner/template/storage/{template}"),
    ("GET POST", "/provisioner/template/storage/{template}/disk"),
    ("GET POST DELETE", "/provisioner/template/storage/{template}/disk/{disk_id}"),
    ("GET POST", "/provisioner/userdata"),
    ("GET POST PUT DELETE", "/provisioner/userdata/{userdata}"),
    ("GET POST", "/provisioner/script"),
    ("GET POST PUT DELETE", "/provisioner/script/{script}"),
    ("GET POST", "/provisioner/ova"),
    ("GET POST DELETE", "/provisioner/ova/{ova}"),
    ("GET POST", "/provisioner/profile"),
    ("GET POST PUT DELETE", "/provisioner/profile/{profile}"),
    ("POST", "/provisioner/create"),
)


def not_yet(method: str, path: str) -> Handler:
    def answer(call: Call) -> Answer:
        shown = path.format(**{name: f"<{name}>" for name in call.names})
        raise NotYet(f"{method} {shown} is not there yet in this version of PVC", help="it comes with a later version")

    return answer


ROUTES = tuple(
    Route(method=method, path=path, does=not_yet(method, path), takes=None, help="Not there yet.")
    for methods, path in PENDING
    for method in methods.split()
)
