"""Carries bytes between standard input and output and a socket of the machine it runs on.

The address comes as an argument: a port of the loopback interface, or the path of a unix socket.
"""

import os
import socket
import sys
import threading


def connect(address):
    """Returns a connected socket."""
    if address.isdigit():
        return socket.create_connection(("localhost", int(address)))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(address)
    return sock


def send_input(sock):
    """Copies standard input to the socket, to its end."""
    try:
        while True:
            data = os.read(0, 65536)
            if not data:
                break
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def write_all(data):
    """Writes to standard output."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def main(address):
    """Copies both ways until the socket ends."""
    try:
        sock = connect(address)
    except OSError as error:
        sys.stderr.write("cannot connect to %s: %s\n" % (address, error))
        return 1
    sender = threading.Thread(target=send_input, args=(sock,))
    sender.daemon = True
    sender.start()
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                return 0
            write_all(data)
    except OSError:
        return 1


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)
