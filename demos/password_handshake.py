"""A server that asks for a password before the protocol begins, and knows who its clients are."""

import hashlib
import hmac
import os

import rpyc_like as rpyc
from rpyc_like.core.channel import Channel
from rpyc_like.core.stream import SocketStream
from rpyc_like.utils.authenticators import AuthenticationError
from rpyc_like.utils.factory import connect_channel
from rpyc_like.utils.server import ThreadedServer

PASSWORDS = {b"ann": b"correct horse", b"bob": b"battery staple"}


def answer(password, challenge):
    return hmac.new(password, challenge, hashlib.sha256).digest()


def exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError("the other side hung up")
        data += more
    return data


def authenticator(sock):
    """Is called with each client's socket; gives it back with the client's name."""
    challenge = os.urandom(16)
    sock.sendall(challenge)
    name = exactly(sock, exactly(sock, 1)[0])
    given = exactly(sock, 32)
    if not hmac.compare_digest(given, answer(PASSWORDS.get(name, os.urandom(8)), challenge)):
        sock.sendall(b"n")
        raise AuthenticationError("wrong name or password")
    sock.sendall(b"y")
    return sock, name.decode()


class VaultService(rpyc.Service):
    """Keeps something for each user."""

    secrets = {"ann": "the cake is in the cellar"}
    version = b"vault 1\n"

    @classmethod
    def _connect(cls, channel, config):
        """Says its version before the protocol begins."""
        channel.stream.sock.sendall(cls.version)
        return super()._connect(channel, config)

    def on_connect(self, conn):
        self.user = conn._config["credentials"]

    def exposed_whoami(self):
        return self.user

    def exposed_secret(self):
        if self.user not in self.secrets:
            raise PermissionError(f"nothing is kept for {self.user}")
        return self.secrets[self.user]


def connect(port, name, password):
    """Logs in on the bare socket, then starts the protocol on it."""
    stream = SocketStream.connect("localhost", port)
    challenge = exactly(stream.sock, 16)
    stream.sock.sendall(bytes([len(name)]) + name + answer(password, challenge))
    if exactly(stream.sock, 1) != b"y":
        stream.close()
        raise PermissionError(f"{name.decode()} may not come in")
    greeting = exactly(stream.sock, len(VaultService.version))
    print("greeting:", greeting)
    return connect_channel(Channel(stream))


def main():
    server = ThreadedServer(VaultService, hostname="localhost", port=0, authenticator=authenticator)
    server._start_in_thread()
    for name, password in (
        (b"ann", b"correct horse"),
        (b"bob", b"battery staple"),
        (b"bob", b"12345"),
        (b"eve", b"battery staple"),
    ):
        try:
            conn = connect(server.port, name, password)
        except PermissionError as error:
            print("refused:", error)
            continue
        print("logged in as", conn.root.whoami())
        try:
            print("secret:", conn.root.secret())
        except PermissionError as error:
            print("PermissionError:", error.args[0])
        conn.close()
    server.close()


if __name__ == "__main__":
    main()
