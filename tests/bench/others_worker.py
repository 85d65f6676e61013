"""One side of one other library: ``others_worker.py serve NAME`` or ``... call NAME PORT``.

Each does the same job in its own usual way: a function that returns its argument is called, and 64
KiB of bytes go there and back.
"""

import asyncio
import os
import socket
import sys
import threading

from timing import answer, repeated

SOME = os.urandom(1 << 16)


def echo(value):
    return value


# -- servers: each prints its port and serves until standard input ends


def serve_pyro5(name):
    import Pyro5.api

    class Service:
        @Pyro5.api.expose
        def echo(self, value):
            return value

    daemon = Pyro5.api.Daemon(host="127.0.0.1")
    daemon.register(Service(), "echo")
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    return daemon.sock.getsockname()[1]


def serve_managers(name):
    from multiprocessing.managers import BaseManager

    class Service:
        def echo(self, value):
            return value

    class Manager(BaseManager):
        """Gives the service."""

    service = Service()
    Manager.register("service", callable=lambda: service)
    server = Manager(("127.0.0.1", 0), authkey=b"bench").get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.address[1]


def serve_zerorpc(name):
    import zerorpc

    class Service:
        def echo(self, value):
            return value

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = zerorpc.Server(Service())
    server.bind(f"tcp://127.0.0.1:{port}")
    print(port, flush=True)
    server.run()  # in no other thread; ends with the process


def add_echo(server, echo):
    import grpc

    handlers = {"echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))


def serve_grpc(name):
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    server = grpc.server(ThreadPoolExecutor(4))
    add_echo(server, lambda request, context: request)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    serve_grpc.server = server
    return port


async def serve_grpc_aio():
    import grpc.aio

    async def echo_later(request, context):
        return request

    server = grpc.aio.server()
    add_echo(server, echo_later)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()  # in no other thread; ends with the process


SERVERS = {
    "Pyro5": serve_pyro5,
    "managers": serve_managers,
    "zerorpc": serve_zerorpc,
    "grpcio": serve_grpc,
    "grpc.aio": lambda name: asyncio.run(serve_grpc_aio()),
    "execnet": lambda name: 0,  # these start their own processes
    "dask": lambda name: 0,
}


# -- clients: each returns a function that calls the echo


def call_pyro5(name, port):
    import Pyro5.api

    proxy = Pyro5.api.Proxy(f"PYRO:echo@127.0.0.1:{port}")

    return proxy.echo


def call_managers(name, port):
    from multiprocessing.managers import BaseManager

    class Manager(BaseManager):
        """Gives the service."""

    Manager.register("service")
    manager = Manager(("127.0.0.1", port), authkey=b"bench")
    manager.connect()
    return manager.service().echo


def call_zerorpc(name, port):
    import zerorpc

    client = zerorpc.Client()
    client.connect(f"tcp://127.0.0.1:{port}")
    return client.echo


def call_grpc(name, port):
    import grpc

    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary("/bench/echo")
    return lambda value: call(value if isinstance(value, bytes) else b"%d" % value)


def grpc_aio_rows(port):
    import grpc.aio

    loop = asyncio.new_event_loop()

    async def connected():
        return grpc.aio.insecure_channel(f"127.0.0.1:{port}").unary_unary("/bench/echo")

    call = loop.run_until_complete(connected())

    def row(data):
        async def some(count):
            for _ in range(count):
                await call(data)

        return lambda count: loop.run_until_complete(some(count))

    return {"bound": row(b"1"), "bytes": row(SOME)}


def call_execnet(name, port):
    import execnet

    channel = execnet.makegateway().remote_exec("for value in channel: channel.send(value)")

    def call(value):
        channel.send(value)
        return channel.receive()

    return call


def call_dask(name, port):
    from distributed import Client, LocalCluster

    class Service:
        def echo(self, value):
            return value

    cluster = LocalCluster(1, threads_per_worker=1, processes=True, dashboard_address=None)
    client = Client(cluster)
    call_dask.kept = cluster, client
    actor = client.submit(Service, actor=True).result()
    return lambda value: actor.echo(value).result()


CLIENTS = {
    "Pyro5": call_pyro5,
    "managers": call_managers,
    "zerorpc": call_zerorpc,
    "grpcio": call_grpc,
    "execnet": call_execnet,
    "dask": call_dask,
}


def main():
    role, name = sys.argv[1:3]
    if role == "serve":
        print(SERVERS[name](name), flush=True)
        sys.stdin.read()
        return
    if name == "grpc.aio":
        answer(grpc_aio_rows(sys.argv[3]))
        return
    call = CLIENTS[name](name, int(sys.argv[3]))
    answer({"bound": repeated(lambda: call(1)), "bytes": repeated(lambda: call(SOME))})


if __name__ == "__main__":
    main()
