"""Handlers and servers that override what programs are known to override."""

import io
import logging
import threading

from epc.client import EPCClient
from epc.handler import EPCHandler, ThreadingEPCHandler
from epc.server import EPCServer, ThreadingEPCServer

logging.getLogger("epc").handlers = []
logging.getLogger("epc").propagate = False
connected = []


class Spy(EPCHandler):
    def _handle(self, sexp):
        connected.append(sexp)
        EPCHandler._handle(self, sexp)


class Router(EPCHandler):
    def _handle_call(self, uid, meth, args):
        if meth.value() == "route":
            return ["return", uid, ["routed", args]]
        if meth.value() == "refuse":
            return ["return-error", uid, "refused"]
        return EPCHandler._handle_call(self, uid, meth, args)


class Announcing(EPCServer):
    def print_port(self, stream=None):
        stream.write("port of my own")


def started(kind, **options):
    server = kind(("127.0.0.1", 0), **options)
    server.register_function(lambda x: x, "echo")
    server.handle_client_connect = lambda handler: connected.append("connect")
    server.handle_client_disconnect = lambda handler: connected.append("disconnect")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


server = started(EPCServer, RequestHandlerClass=Spy)
client = EPCClient(server.server_address)
print(client.call_sync("echo", [3]))
print(connected)

server = started(EPCServer, RequestHandlerClass=Router)
client = EPCClient(server.server_address)
print(client.call_sync("route", [1, 2]), client.call_sync("echo", [4]))
for name in ("refuse", "nothing"):
    try:
        client.call_sync(name, [])
    except Exception as error:
        print(type(error).__name__, error.args)

server = started(Announcing)
stream = io.StringIO()
server.print_port(stream)
print(stream.getvalue())

for options in ({"RequestHandlerClass": Router}, {}):
    server = started(ThreadingEPCServer, **options)
    print(server.RequestHandlerClass is ThreadingEPCHandler)
try:
    ThreadingEPCServer(("127.0.0.1", 0), Router)
except TypeError:
    print("TypeError")
