"""Commands that make certificates and tokens, and servers that use them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like.errors import AuthenticationError
from rpyc_like.link.client_login import KeyLogin, TokenLogin

ROOT = Path(__file__).resolve().parents[2]
CLASSIC = [sys.executable, str(ROOT / "bin" / "rpyc_classic.py")]
MAKE = [sys.executable, str(ROOT / "bin" / "rpyc_certificates.py")]

pytest.importorskip("cryptography")


def make(*arguments: str) -> list[Path]:
    """Runs the command; returns the files that it says it has written."""
    done = subprocess.run([*MAKE, *arguments], capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()]


def refused(*arguments: str) -> str:
    """Runs the command, which fails; returns what it says."""
    done = subprocess.run([*MAKE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr + done.stdout


@contextlib.contextmanager
def classic(*options: str) -> Iterator[int]:
    """Runs a classic server that serves one client; gives its port."""
    command = [*CLASSIC, "-q", "-m", "oneshot", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            yield int(server.stdout.readline().split()[-1])
        finally:
            server.kill()


def test_certificates(tmp_path: Path) -> None:
    """An authority, a server and a client, made by commands, know each other and nobody else."""
    folder = str(tmp_path / "pki")
    assert "make an authority first" in refused("server", "-d", folder, "localhost")
    (authority,) = make("ca", "-d", folder)
    again = refused("ca", "-d", folder)
    assert "there is an authority" in again
    assert "move it away first" in again
    server_key, server_cert = make("server", "-d", folder, "127.0.0.1", "localhost", "::1")
    client_key, client_cert = make("client", "-d", folder, "ann")
    for secret in (server_key, client_key, authority.with_suffix(".key")):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    tls = ["--ssl-keyfile", str(server_key), "--ssl-certfile", str(server_cert)]
    tls += ["--ssl-cafile", str(authority)]
    mine: dict[str, Any] = {
        "keyfile": str(client_key),
        "certfile": str(client_cert),
        "ca_certs": str(authority),
    }
    for host in ("127.0.0.1", "localhost"):
        with classic(*tls) as port:
            with rpyc.classic.ssl_connect(host, port, **mine) as conn:
                found = conn.eval("__import__('rpyc_like').current_call().credentials")
                assert ("commonName", "ann") in found["subject"][0]
                assert conn.modules.os.getpid()
    with classic(*tls) as port, pytest.raises((OSError, EOFError)):
        rpyc.classic.ssl_connect("127.0.0.1", port, ca_certs=str(authority)).modules.os.getpid()
    elsewhere = ("--host", "127.0.0.2")
    with classic(*tls, *elsewhere) as port, pytest.raises(ssl.SSLError, match="mismatch"):
        rpyc.classic.ssl_connect("127.0.0.2", port, **mine)
    server_as_client = {"keyfile": str(server_key), "certfile": str(server_cert)}
    with classic(*tls) as port, pytest.raises((OSError, EOFError)):
        rpyc.classic.ssl_connect(
            "127.0.0.1", port, **{**mine, **server_as_client}
        ).modules.os.getpid()


def test_what_the_commands_say(tmp_path: Path) -> None:
    """They name the key of an authority, and blame no peer for a name of the command line."""
    command = [*MAKE, "ca", "-d", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(tmp_path / "ca.key") in done.stderr
    text = refused("client", "-d", str(tmp_path), "../ann")
    assert "expected a plain file name for a certificate, got" in text
    make("client", "-d", str(tmp_path), "ann")
    assert "ann.key" in (text := refused("client", "-d", str(tmp_path), "ann"))
    assert "move it away first" in text


def test_how_long_they_live(tmp_path: Path) -> None:
    """Certificates live for a month unless told otherwise, and say what they are for."""
    import datetime

    from cryptography import x509

    make("ca", "-d", str(tmp_path))
    for arguments, days in ((("server", "a.example"), 30), (("client", "b", "--days", "2"), 2)):
        _, file = make(arguments[0], "-d", str(tmp_path), *arguments[1:])
        found = x509.load_pem_x509_certificate(file.read_bytes())
        lives = found.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
        assert abs(lives - datetime.timedelta(days=days)) < datetime.timedelta(minutes=1)
        found.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    openssl = ["openssl", "verify", "-CAfile", str(tmp_path / "ca.pem")]
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(
            [*openssl, "-purpose", "sslserver", str(tmp_path / "a.example.pem")], check=True
        )


@pytest.mark.parametrize("days", ["0", "-1", "1000000"])
def test_how_long_they_must_live(tmp_path: Path, days: str) -> None:
    """A certificate that would have expired already is not made."""
    text = refused("ca", "-d", str(tmp_path / "new"), "--days", days)
    assert f"days: expected an integer from 1 to 36500; got {days}" in text
    make("ca", "-d", str(tmp_path))
    for command in ("server", "client"):
        assert "days: expected" in refused(command, "-d", str(tmp_path), "x", "--days", days)
    assert not list(tmp_path.glob("x.*"))


def test_tokens(tmp_path: Path) -> None:
    """A token that a command makes lets a client in, alone and within TLS."""
    token = tmp_path / "token"
    assert make("token", str(token)) == [token]
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert "exists, move it away first" in refused("token", str(token))
    with classic("--token-file", str(token)) as port:
        with rpyc.classic.connect("127.0.0.1", port, login=TokenLogin(token)) as conn:
            assert conn.modules.os.getpid()
    with classic("--token-file", str(token)) as port, pytest.raises(AuthenticationError):
        rpyc.classic.connect("127.0.0.1", port, login=TokenLogin("something else of 16"))
    make("ca", "-d", str(tmp_path))
    key, cert = make("server", "-d", str(tmp_path), "127.0.0.1")
    tls = ["--ssl-keyfile", str(key), "--ssl-certfile", str(cert), "--host", "0.0.0.0"]
    with classic(*tls, "--token-file", str(token)) as port:
        with rpyc.classic.ssl_connect(
            "127.0.0.1", port, ca_certs=str(tmp_path / "ca.pem"), login=TokenLogin(token)
        ) as conn:
            assert conn.modules.os.getpid()


def test_keys(tmp_path: Path) -> None:
    """Keys of ssh-keygen let clients in."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with classic("--authorized-keys", f"{key}.pub", "--host-key", str(key)) as port:
        login = KeyLogin(key, server=Path(f"{key}.pub").read_text())
        with rpyc.classic.connect("127.0.0.1", port, login=login) as conn:
            assert conn.modules.os.getpid()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="needs SO_PEERCRED")
def test_users(tmp_path: Path) -> None:
    """A unix socket is open to processes of the users that are named."""
    for user, let_in in ((str(os.getuid()), True), (str(os.getuid() + 1), False)):
        path = tmp_path / user
        command = [*CLASSIC, "-q", "-m", "oneshot", "--socket-path", str(path), "--user", user]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            server.stdout.readline()
            server.stdout.readline()
            with contextlib.nullcontext() if let_in else pytest.raises(EOFError):
                with rpyc.classic.unix_connect(str(path)) as conn:
                    assert conn.modules.os.getpid() == server.pid
            server.kill()
    wrong = [*CLASSIC, "--socket-path", str(tmp_path / "s"), "--user", "no such user"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected a user of this machine" in done.stderr


def test_wrong_use() -> None:
    """Mistakes end with a word about what was expected."""
    assert "expected a command, got 'nonsense'" in refused("nonsense")
    assert "Usage" in refused()
