"""The cluster's certificate authority and the nodes' certificates (X.509, RFC 5280; ECDSA P-256).

Lies beside the secrets: pki/ca.crt, node.crt, node.key on every node; ca.key, the API's api.crt and api.key, and
revoked.crl on coordinators. Who gets a certificate is welcome.py's, the list of the worthless ones is revoked.py's.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pvc_core.errors import Invalid, NotFound, Permanent
from pvc_core.founding.files import PUBLIC, File, write_all

CA_DAYS, NODE_DAYS = 30 * 365, 10 * 365
_BEFORE = datetime.timedelta(days=1)
"""A new node whose clock is a few hours late must not find its own certificate not yet valid."""

API_NAME = "api."
"""Before the node's name: no node is called so, a node's name has no dot."""

Ip = IPv4Address | IPv6Address
LOOPBACK: Sequence[Ip] = (IPv4Address("127.0.0.1"),)
"""What a node without a cluster network calls itself by."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this node's certificates lie."""

    directory: Path

    @property
    def ca_crt(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def node_crt(self) -> Path:
        return self.directory / "node.crt"

    @property
    def node_key(self) -> Path:
        return self.directory / "node.key"

    @property
    def api_crt(self) -> Path:
        return self.directory / "api.crt"

    @property
    def api_key(self) -> Path:
        return self.directory / "api.key"

    @property
    def revoked_crl(self) -> Path:
        return self.directory / "revoked.crl"

    def need(self, path: Path) -> str:
        """Its text. Raises NotFound, Permanent."""
        try:
            return path.read_text()
        except FileNotFoundError:
            raise NotFound(
                f"there is no {path}", help="the first node makes it with `pvcnoded init`, the others with `join`"
            ) from None
        except OSError as error:
            raise Permanent(f"{path} cannot be read: {error.strerror}", help="run it as root") from None


def ensure_ca(place: Place, cluster: str) -> list[Path]:
    """Make the cluster's authority if there is none; returns what was made. Raises Permanent, NotFound.

    Never where this node was given the certificate of another's authority: that would split the cluster.
    """
    if place.ca_crt.exists():
        return []
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"PVC cluster {cluster}")])
    made = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_all([File(place.ca_key, _key_text(key)), File(place.ca_crt, _text(made), PUBLIC)])
    return [place.ca_key, place.ca_crt]


def ensure_node(place: Place, node: str, addresses: Sequence[Ip]) -> list[Path]:
    """Make this node's certificate if there is none for this name and these addresses, with the authority's key.

    Returns what was made; nothing on a node that has no authority's key (it asked for its certificate when it joined).
    Raises Permanent, NotFound.
    """
    if _fits(place, node, addresses) or not place.ca_key.exists():
        return []
    key, request = new_request(node)
    made = issue(place, request, node, addresses)
    write_all([File(place.node_key, key), File(place.node_crt, made, PUBLIC)])
    return [place.node_key, place.node_crt]


def ensure_api(place: Place, node: str, group: str) -> list[Path]:
    """Make the certificate with which this coordinator's API asks the store, if there is none or the node's is newer.

    It is nobody's on the peer channel, and its number is the one after the node's: they are revoked together. `group`
    may read the key. Returns what was made; nothing without the authority's key. Raises Permanent, NotFound.
    """
    if not place.ca_key.exists() or not place.node_crt.exists():
        return []
    number = int(serial_of(place.need(place.node_crt)), 16) + 1
    if place.api_crt.exists() and place.api_key.exists() and serial_of(place.need(place.api_crt)) == f"{number:x}":
        return []
    key, request = new_request(f"{API_NAME}{node}")
    made = issue(place, request, f"{API_NAME}{node}", (), number=number)
    write_all([File(place.api_key, key, group=group), File(place.api_crt, made, PUBLIC)])
    return [place.api_key, place.api_crt]


def new_request(node: str) -> tuple[str, str]:
    """(private key, certificate signing request) as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(node)).sign(key, hashes.SHA256())
    return _key_text(key), _text(request)


def issue(place: Place, request: str, node: str, addresses: Sequence[Ip], *, number: int | None = None) -> str:
    """A certificate for `node` on the key in `request`; all else the request says is ignored.

    It names the file in which ZooKeeper's servers look up whether it is still worth something.

    Raises Invalid (no such request), NotFound (no authority here), Permanent.
    """
    ca = x509.load_pem_x509_certificate(place.need(place.ca_crt).encode())
    ca_key = serialization.load_pem_private_key(place.need(place.ca_key).encode(), None)
    key = _asked_key(request)
    names: list[x509.GeneralName] = [x509.DNSName(node), *map(x509.IPAddress, addresses)]
    made = (
        _builder(_subject(node), ca.subject, key, NODE_DAYS, number)
        .add_extension(_looked_up_in(place.revoked_crl), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)  # type: ignore[arg-type]  # ours is EC
        .sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]  # ours is EC
    )
    return _text(made)


def fingerprint(certificate: str) -> str:
    """SHA-256 of the certificate (DER), in hex. Raises Invalid."""
    return _loaded(certificate).fingerprint(hashes.SHA256()).hex()


def serial_of(certificate: str) -> str:
    """In hex, as the deny list names it. Raises Invalid."""
    return f"{_loaded(certificate).serial_number:x}"


def names_of(certificate: str) -> tuple[str, tuple[Ip, ...]]:
    """(node, addresses) a certificate is for. Raises Invalid."""
    try:
        names = _loaded(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise Invalid("the certificate names nobody") from None
    nodes = names.get_values_for_type(x509.DNSName)
    return (nodes[0] if nodes else ""), tuple(names.get_values_for_type(x509.IPAddress))  # type: ignore[arg-type]  # we issue no networks


def checked_addresses(addresses: object) -> tuple[Ip, ...]:
    """Raises Invalid."""
    if not isinstance(addresses, list) or len(addresses) > 8:
        raise Invalid("the node's addresses are no list of at most eight")
    try:
        return tuple(ip_address(str(address)) for address in addresses)
    except ValueError as error:
        raise Invalid(f"a node's address is wrong: {error}") from None


def _fits(place: Place, node: str, addresses: Sequence[Ip]) -> bool:
    if not place.node_crt.exists() or not place.node_key.exists():
        return False
    name, had = names_of(place.need(place.node_crt))
    return name == node and set(addresses) <= set(had)


def _asked_key(request: str) -> ec.EllipticCurvePublicKey:
    try:
        loaded = x509.load_pem_x509_csr(request.encode())
        if not loaded.is_signature_valid:
            raise Invalid("the certificate signing request is not signed by the key it names")
        key = loaded.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise Invalid(f"this is no certificate signing request: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Invalid("the key of the certificate signing request is not an ECDSA key")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int, number: int | None = None
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(number or x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _looked_up_in(crl: Path) -> x509.CRLDistributionPoints:
    """RFC 5280 4.2.1.13; a file of the server's own, so that no network is needed to refuse somebody."""
    where = x509.UniformResourceIdentifier(crl.absolute().as_uri())
    return x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(node: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])


def _loaded(certificate: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise Invalid(f"this is no certificate: {error}") from None


def _text(made: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
