"""A private certificate authority in a folder, and certificates of servers and clients.

The folder holds ``ca.pem`` and ``ca.key``, and for each name ``NAME.pem`` and ``NAME.key``. Keys
are on the curve P-256 and readable by the user only; certificates say what they are for. Needs the
package ``cryptography``.

No file is ever replaced: a pair that exists already is an error. To renew a certificate, move the
old pair away first; servers of this package read the files again when they change.
"""

from __future__ import annotations

import datetime
import ipaddress
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..lib.safe_paths import create_new, join_name
from ..lib.settings import checked, count

__all__ = ["CA_DAYS", "DAYS", "make_authority", "make_client", "make_server"]

CA_DAYS = 365
"""Days that an authority lives."""

DAYS = 30
"""Days that a certificate lives."""

_AUTHORITY: Final = "ca"
_KEY, _CERTIFICATE = ".key", ".pem"
_DAYS: Final = count(1, 36_500)
_SKEW = datetime.timedelta(minutes=5)


def make_authority(folder: str | Path, days: int = CA_DAYS) -> Path:
    """Makes a new authority; returns the file of its certificate.

    Raises:
        FileExistsError: there is one in the folder, or a part of one.
    """
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("rpyc_like private authority")
    builder = (
        _builder(name, name, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    try:
        return _write_pair(folder, _AUTHORITY, key, builder.sign(key, hashes.SHA256()))[1]
    except FileExistsError as error:
        raise FileExistsError(
            f"there is an authority in {folder} already: {error.filename} exists, "
            "move it away first"
        ) from None


def make_server(folder: str | Path, names: Sequence[str], days: int = DAYS) -> tuple[Path, Path]:
    """Makes the certificate of a server; returns the files of key and certificate.

    Args:
        names: host names and addresses under which clients connect to it. The first one gives the
            files their name.

    Raises:
        FileExistsError: there is a key or a certificate of that name already.
        FileNotFoundError: there is no authority in the folder.
        ValueError: there is no name, or the first one gives no file name of its own: it has a
            separator, or it is ``ca``.
    """
    return _issue(Path(folder), names, days, ExtendedKeyUsageOID.SERVER_AUTH)


def make_client(folder: str | Path, name: str, days: int = DAYS) -> tuple[Path, Path]:
    """Makes the certificate of a client; returns the files of key and certificate.

    Args:
        name: of the client; the server finds it as ``commonName`` in ``conn.credentials``.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as for :func:`make_server`.
    """
    return _issue(Path(folder), [name], days, ExtendedKeyUsageOID.CLIENT_AUTH)


def _issue(
    folder: Path, names: Sequence[str], days: int, purpose: x509.ObjectIdentifier
) -> tuple[Path, Path]:
    if not names or not all(names):
        raise ValueError(f"expected a name, got {list(names)!r}")
    stem = _stem(folder, names[0])
    authority = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(names[0]), issuer.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False
        )
    )
    return _write_pair(folder, stem, key, builder.sign(authority, hashes.SHA256()))


def _stem(folder: Path, name: str) -> str:
    """Return how the files of a name begin; ``:`` of IPv6 and ``*`` become ``_``.

    Raises:
        ValueError: there can be no such files, or they would be the authority's.
    """
    try:
        stem = name.replace(":", "_").replace("*", "_")
        for ending in _KEY, _CERTIFICATE:
            join_name(folder, stem + ending, "for a certificate")
        join_name(folder, stem, "for a certificate")
    except (TypeError, AttributeError) as error:
        raise ValueError(f"expected a name, got {name!r:.80}") from error
    # Some file systems ignore case, and compare what characters mean.
    if unicodedata.normalize("NFKC", stem).casefold().rstrip(". ") == _AUTHORITY:
        raise ValueError(f"expected another name than that of the authority, got {name!r}")
    return stem


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    checked("days", _DAYS, days)
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(
    folder: Path, stem: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> tuple[Path, Path]:
    """Write a key and its certificate into new files, both or none.

    Raises:
        FileExistsError: one of them is there already.
    """
    files = folder / f"{stem}{_KEY}", folder / f"{stem}{_CERTIFICATE}"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_new(files[0], secret, 0o600)
    try:
        create_new(files[1], certificate.public_bytes(Encoding.PEM), 0o644)
    except BaseException:
        files[0].unlink(missing_ok=True)
        raise
    return files
