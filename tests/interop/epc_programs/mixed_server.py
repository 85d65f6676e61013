"""A server made of socketserver's parts, with handlers and functions of its own."""

import logging
import threading
import time

from epc import client, server
from epc.handler import EPCHandler, ReturnError
from epc.utils import ThreadedIterator

logging.getLogger("epc").handlers = []
logging.getLogger("epc").propagate = False
told = []


class Handler(EPCHandler):
    def handle_error(self, err):
        told.append(repr(err))
        return EPCHandler.handle_error(self, err)


class MixedServer(server.SocketServer.ThreadingMixIn, server.EPCServer):
    daemon_threads = True
    allow_reuse_address = True

    def verify_request(self, request, client_address):
        told.append("verify")
        return True


def patched(self, err):
    told.append("client: " + repr(err))
    return True


target = ThreadedIterator._target
finish = client.EPCClientHandler.finish


def patched_target(self):
    try:
        target(self)
    except Exception:
        pass


def patched_finish(self):
    finish(self)


client.EPCClientHandler.handle_error = patched
client.EPCClientHandler.finish = patched_finish
ThreadedIterator._target = patched_target

mixed = MixedServer(("127.0.0.1", 0), RequestHandlerClass=Handler)
mixed.funcs = {"echo": lambda *args: list(args), "fail": lambda: 1 / 0}
threading.Thread(target=mixed.serve_forever, daemon=True).start()

one, two = client.EPCClient(mixed.server_address), client.EPCClient(mixed.server_address)
print(one.call_sync("echo", [1, "a"]), two.call_sync("echo", [2]))
try:
    one.call_sync("fail", [])
except ReturnError as error:
    print(error.args)
two.call("fail", [])
two.call_sync("echo", [])
print(two.methods_sync(), len(mixed.clients))
for _ in range(500):  # the error is told in another thread
    if any(one.startswith("client") for one in told):
        break
    time.sleep(0.01)
print(sorted(told))
