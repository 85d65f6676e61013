"""What a program may do with a server because it is one of socketserver's."""

import logging
import select
import threading

from epc.client import EPCClient
from epc.server import EPCServer, SocketServer

logging.getLogger("epc").handlers = []
logging.getLogger("epc").propagate = False


class Server(EPCServer):
    allow_reuse_address = True
    timeout = 0.05

    def handle_timeout(self):
        print("timeout")

    def service_actions(self):
        actions.set()


actions = threading.Event()
print(issubclass(EPCServer, SocketServer.TCPServer), EPCServer.allow_reuse_address)
print(EPCServer.request_queue_size, SocketServer.BaseServer in EPCServer.__mro__)

server = Server(("127.0.0.1", 0), bind_and_activate=False)
server.server_bind()
server.server_activate()
print(server.server_address[0], server.server_address[1] == server.socket.getsockname()[1])
server.handle_request()
server.register_function(lambda *args: sum(args), name="add")

clients = []


def use():
    client = EPCClient(server.server_address)
    clients.append(client.call_sync("add", [1, 2, 3]))
    client.socket.shutdown(2)


user = threading.Thread(target=use)
user.start()
print(select.select([server], [], [], 10)[0] == [server])
server.handle_request()
user.join(10)
print(clients, server.clients)

thread = threading.Thread(target=server.serve_forever, args=(0.01,))
thread.start()
print(actions.wait(10))
server.shutdown()
thread.join(60)
print(thread.is_alive())
server.server_close()
print(server.fileno())
with Server(("127.0.0.1", 0)) as server:
    pass
print(server.fileno())
