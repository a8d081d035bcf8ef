"""Guessing, cookies, headers, certificates renewed on disk, and two hundred readers that do not read."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from pvc_api_falcon.attempts import ADDRESSES_MAX, WINDOW_S, Attempts
from pvc_api_falcon.errors import TooMany

from .fake_compute import definition
from .rig import Api, Rig, running


def test_who_guesses_waits_and_who_knows_does_not(rig: Rig, tmp_path: Path) -> None:
    with running(rig, tmp_path, failed_logins=3) as api, api.client() as good, api.client(key="a.b") as bad:
        assert good.get("/vm").status_code == 200
        assert [bad.get("/vm").status_code for _ in range(4)] == [401, 401, 401, 429]
        told = bad.get("/vm")
        assert told.json()["code"] == "too_many_attempts" and 1 <= int(told.headers["Retry-After"]) <= WINDOW_S
        assert good.get("/vm").status_code == 200, "a key that was right before works on"
        with api.client(key="") as nobody:
            assert nobody.get("/vm").status_code == 401 and nobody.get("/").status_code == 200
            assert nobody.post("/login", data={"token": "a.b"}).status_code == 429
        with api.local() as local:
            assert local.get("/vm").status_code == 200


def test_the_count_ends_with_its_minute_and_is_bounded() -> None:
    now_s = 0.0
    attempts = Attempts(2, lambda: now_s)
    for _ in range(2):
        attempts.failed("2001:db8::1")
    attempts.check("2001:db8:0:1::1")
    attempts.check("10.0.0.1")
    with pytest.raises(TooMany):
        attempts.check("2001:db8::ffff:2")  # the same /64
    for number in range(ADDRESSES_MAX - 1):
        attempts.failed(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    with pytest.raises(TooMany):
        attempts.check("2001:db8::1")
    now_s = WINDOW_S + 1
    attempts.check("2001:db8::1")
    assert len(attempts._failed) == ADDRESSES_MAX


def test_a_session(api: Api) -> None:
    with api.client(key="") as browser:
        assert browser.post("/login", data={"token": "wrong.key"}).status_code == 401
        assert browser.post("/login").status_code == 400
        answer = browser.post("/login", data={"token": api.key})
        cookie = answer.headers["Set-Cookie"]
        assert answer.status_code == 200
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/api/v1"))
        assert browser.get("/vm").status_code == 200
        assert browser.post("/logout").status_code == 200
        assert browser.get("/vm").status_code == 401


def test_headers_for_browsers(client: httpx2.Client) -> None:
    for path in ("/vm", "/", "/nothing", "/vm/nope"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" not in headers and "server" not in headers


def certificate(where: Path, name: str) -> None:
    """A new self-signed pair, put in place as tools do: written beside, then renamed."""
    for file in ("key", "crt"):
        (where / f"{file}.new").unlink(missing_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(where / "key.new"), "-out", str(where / "crt.new"), "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run(command, check=True, capture_output=True)
    os.replace(where / "key.new", where / "key")
    os.replace(where / "crt.new", where / "crt")


def shown_name(port: int, **context: ssl.TLSVersion) -> str:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    for name, value in context.items():
        setattr(made, name, value)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, made.wrap_socket(plain) as tls:
        pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")
    return subprocess.run(
        ["openssl", "x509", "-noout", "-subject"], input=pem, check=True, capture_output=True, text=True
    ).stdout


def wait_for_name(port: int, name: str) -> None:
    until_s = time.monotonic() + 20
    while name not in (found := shown_name(port)):
        assert time.monotonic() < until_s, found
        time.sleep(0.05)


def test_a_renewed_certificate_is_used_without_a_restart(rig: Rig, tmp_path: Path) -> None:
    certificate(tmp_path, "first")
    files = {"certificate": str(tmp_path / "crt"), "certificate_key": str(tmp_path / "key")}
    with running(rig, tmp_path, **files, certificate_look_s=0.05) as api:
        assert "first" in shown_name(api.frontend.port)
        url = f"https://127.0.0.1:{api.frontend.port}/api/v1"
        with httpx2.Client(base_url=url, verify=False, headers={"X-Api-Key": api.key}, trust_env=False) as open_before:
            headers = open_before.get("/vm").headers
            assert "max-age" in headers["Strict-Transport-Security"]
            assert "Secure" in open_before.post("/login", data={"token": api.key}).headers["Set-Cookie"]
            certificate(tmp_path, "second")
            wait_for_name(api.frontend.port, "second")
            assert open_before.get("/vm").status_code == 200, "what was open goes on"
        (tmp_path / "crt").write_text("no certificate")
        until_s = time.monotonic() + 20
        while not any("cannot be used" in event for event, _ in rig.log.errors):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert "second" in shown_name(api.frontend.port), "a bad one changes nothing"
        certificate(tmp_path, "third")
        wait_for_name(api.frontend.port, "third")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown_name(api.frontend.port, maximum_version=ssl.TLSVersion.TLSv1_1)


def test_two_hundred_readers_that_do_not_read_are_in_nobodys_way(api: Api, client: httpx2.Client) -> None:
    client.post("/storage/ceph/volume", data={"pool": "vms", "volume": "wide", "size": "3M"})
    path = "/api/v1/storage/ceph/volume/vms/wide/export"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {api.key}\r\n\r\n".encode()
    readers = []
    try:
        for _ in range(199):  # one less than there may be streams
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(10)
            reader.connect(("127.0.0.1", api.frontend.port))
            reader.sendall(head)
            readers.append(reader)
        assert all(reader.recv(12) == b"HTTP/1.1 200" for reader in readers)
        assert client.get("/vm").status_code == 200
        assert client.post("/vm", data={"xml": definition("meanwhile")}).status_code == 200
        assert len(client.get("/storage/ceph/volume/vms/wide/export").content) == len(api.rig.node.content)
    finally:
        for reader in readers:
            reader.close()
