"""Who may do what: the same grants mean the same on pvcstored (users by digest) and on ZooKeeper (users by SASL)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from pvc_core.errors import PvcError, Refused, StoreUnavailable
from pvc_core.store.access import ANYONE, GrantsFor
from pvc_core.store.base import Check, Create, Delete, Put, SessionState, Store
from pvc_core.store.zookeeper import Credentials, Grant, ZooKeeperStore

from .rigs import Pvcstored, ServerProcess, ZooKeeper

pytestmark = pytest.mark.system

PASSWORDS = {"node": "node-secret", "api": "api-secret"}

Client = Callable[..., ZooKeeperStore]


def grants(key: str) -> Sequence[Grant]:
    """node may do everything, api everything but touch what nodes see; secrets are node's alone."""
    match key.split("/"):
        case [_, _, "seen", *_]:
            return (Grant("node"), Grant("api", "r"))
        case [_, _, "secret", *_]:
            return (Grant("node"),)
    return (Grant("node"), Grant("api"))


@pytest.fixture(params=["pvcstored", "zookeeper"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    server: ServerProcess
    if request.param == "pvcstored":
        server = Pvcstored(tmp_path)
        server.secrets = str(tmp_path / "secrets")
        (tmp_path / "secrets").mkdir()
        for user, password in PASSWORDS.items():
            (tmp_path / "secrets" / f"store-{user}").write_text(password + "\n")
    else:
        server = ZooKeeper(tmp_path, users=PASSWORDS)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    made: list[Store] = []

    def make(user: str, password: str | None = None, acl: GrantsFor | None = grants) -> ZooKeeperStore:
        secret = PASSWORDS[user] if password is None else password
        credentials = Credentials(user, secret, "digest" if isinstance(server, Pvcstored) else "sasl")
        made.append(ZooKeeperStore(server.hosts, credentials=credentials, acl=acl, call_deadline_s=3.0))
        return made[-1]

    yield make
    for store in made:
        store.close()


def test_each_user_may_do_what_was_granted(server: ServerProcess, client: Client) -> None:
    node, api = client("node"), client("api")
    node.create("/t/seen/hv1", b"up")
    node.create("/t/secret/bmc", b"hush")
    api.create("/t/wanted/db", b"x")
    api.put("/t/wanted/db", b"y", if_version=0)
    assert node.put("/t/wanted/db", b"z", if_version=1).version == 2
    assert api.get("/t/seen/hv1").value == b"up"
    before = node.tree("/t")
    for ask in (
        lambda: api.put("/t/seen/hv1", b"lie", if_version=None),
        lambda: api.create("/t/seen/hv2", b"lie"),
        lambda: api.delete("/t/seen/hv1", if_version=None),
        lambda: api.get("/t/secret/bmc"),
        lambda: api.children("/t/secret"),
        lambda: api.commit([Create("/t/wanted/web", b""), Put("/t/seen/hv1", b"lie", 0)]),
        lambda: api.commit([Create("/t/wanted/web", b""), Delete("/t/seen/hv1", 0)]),
        lambda: api.commit([Create("/t/wanted/web", b""), Check("/t/secret/bmc", 0)]),
    ):
        with pytest.raises(Refused, match="/t/"):
            ask()
    assert node.tree("/t") == before
    assert set(api.tree("/t")) == set(before) - {"/t/secret", "/t/secret/bmc"}, "what may not be read is left out"


def test_grants_survive_a_restart(server: ServerProcess, client: Client) -> None:
    client("node").create("/t/secret/bmc", b"hush")
    server.restart()
    with pytest.raises(Refused):
        client("api").get("/t/secret/bmc")
    assert client("node").get("/t/secret/bmc").value == b"hush"


def test_wrong_credentials_are_refused_in_words(client: Client) -> None:
    node = client("node")
    node.create("/t/a", b"")
    impostor = client("node", password="guess")
    states: list[SessionState] = []
    impostor.on_session(lambda session: states.append(session.state))
    with pytest.raises(StoreUnavailable, match="refuses the credentials of user 'node'") as caught:
        impostor.get("/t/a", deadline_s=2.0)
    assert caught.value.maybe_written is False
    assert SessionState.CONNECTED not in states


def test_unknown_users_are_refused(client: Client) -> None:
    stranger = client("stranger", password="x")
    with pytest.raises(StoreUnavailable, match="refuses the credentials"):
        stranger.create("/t", b"", deadline_s=2.0)


def test_without_credentials_nothing_may_be_done(server: ServerProcess, client: Client) -> None:
    client("node").create("/t/open", b"", ephemeral=False)
    nobody = ZooKeeperStore(server.hosts, call_deadline_s=1.0)
    try:
        for ask in (
            lambda: nobody.get("/t/open"),
            lambda: nobody.children("/"),
            lambda: nobody.create("/mine", b""),
            lambda: nobody.tree("/"),
        ):
            with pytest.raises(PvcError):
                ask()
    finally:
        nobody.close()


def test_mended_credentials_are_tried_by_themselves(server: ServerProcess, client: Client, tmp_path: Path) -> None:
    if not isinstance(server, Pvcstored):
        pytest.skip("capability: ZooKeeper reads its users when it starts")
    store = client("late", password="late-secret")
    with pytest.raises(StoreUnavailable):
        store.get("/t", deadline_s=1.0)
    (tmp_path / "secrets" / "store-late").write_text("late-secret")
    end_s = time.monotonic() + 10
    while store.session().state is not SessionState.CONNECTED and time.monotonic() < end_s:
        time.sleep(0.05)
    assert "/" in store.tree("/")


def test_anyone_is_whoever_is_let_in(client: Client) -> None:
    client("node", acl=lambda key: (Grant(ANYONE, "r"), Grant("node"))).create("/t/a", b"1")
    api = client("api")
    assert api.get("/t/a").value == b"1"
    with pytest.raises(Refused):
        api.put("/t/a", b"2", if_version=None)


def test_kazoo_by_itself_is_held_to_the_grants_too(server: ServerProcess, client: Client) -> None:
    if not isinstance(server, Pvcstored):
        pytest.skip("capability: users come by digest")
    client("node").create("/t/secret/bmc", b"hush")
    plain = KazooClient(server.hosts, auth_data=[("digest", "api:api-secret")])
    plain.start(5)
    try:
        with pytest.raises(NoAuthError):
            plain.get("/t/secret/bmc")
        with pytest.raises(NoAuthError):
            plain.set_acls("/t/secret/bmc", plain.get_acls("/t")[0])
    finally:
        plain.stop()
        plain.close()
