"""The list of certificates that are worth nothing any more (a CRL, RFC 5280 section 5), for ZooKeeper's servers.

Every coordinator writes its own from what the store says of removed nodes; Java reads the file anew at most half a
minute later (sun.security.provider.certpath.URICertStore). A number that stands in it never leaves it. The peer channel
asks the view itself and needs no file.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from pvc_core.founding.files import PUBLIC, File, write_all
from pvc_core.founding.pki import CA_DAYS, Place

EFFECT_S = 40.0
"""So long a server may still take who stands in it, at most."""


def ensure_revoked(place: Place, serials: Iterable[str] = ()) -> bool:
    """Have the list hold `serials` (of nodes' certificates, in hex) and their APIs'; whether it had to be written.

    Nothing on a node that has no authority's key. Raises NotFound, Permanent.
    """
    if not place.ca_key.exists():
        return False
    had = _numbers(place)
    wanted = {number for serial in serials for number in (int(serial, 16), int(serial, 16) + 1)} | (had or set())
    if had is not None and wanted == had:
        return False
    write_all([File(place.revoked_crl, _signed(place, wanted), PUBLIC)])
    return True


def _numbers(place: Place) -> set[int] | None:
    """What stands there; None without a list that can be read."""
    try:
        return {entry.serial_number for entry in x509.load_pem_x509_crl(place.revoked_crl.read_bytes())}
    except (OSError, ValueError):
        return None


def _signed(place: Place, numbers: Iterable[int]) -> str:
    """Good for as long as the authority: who forgets to renew it must not lock everybody out."""
    ca = x509.load_pem_x509_certificate(place.need(place.ca_crt).encode())
    key = serialization.load_pem_private_key(place.need(place.ca_key).encode(), None)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(now - datetime.timedelta(days=1))
        .next_update(now + datetime.timedelta(days=CA_DAYS))
    )
    for number in sorted(numbers):
        one = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now)
        builder = builder.add_revoked_certificate(one.build())
    made = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # ours is EC
    return made.public_bytes(serialization.Encoding.PEM).decode()
