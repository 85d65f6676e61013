"""A program of python-epc's, with the real one or ours: ``epc_there.py PACKAGE ROLE [PORT]``."""

import importlib
import queue
import sys
import threading

package, role = sys.argv[1:3]
server_module = importlib.import_module(package + ".server")
client_module = importlib.import_module(package + ".client")
handler_module = importlib.import_module(package + ".handler")


def serve():
    server = server_module.ThreadingEPCServer(("127.0.0.1", 0), log_traceback=False)
    server.daemon_threads = True
    server.logger.setLevel(100)

    @server.register_function
    def echo(*args):
        """Returns its arguments."""
        return args

    @server.register_function
    def fail(text):
        raise ValueError(text)

    @server.register_function
    def call_back(name, *args):
        return server.clients[0].call_sync(name, list(args), timeout=10)

    server.print_port()
    server.serve_forever()


def use(port):
    client = client_module.EPCClient(log_traceback=False)
    client.logger.setLevel(100)
    client.register_function(lambda a, b: a + b, "add")
    client.connect(("127.0.0.1", port))

    def show(*what):
        print(*[repr(one) for one in what], flush=True)

    values = [1, -5, 10**20, 1.5, 'text \u65e5\n"\\', True, [], [1, [2, ["x"]]], "x" * 100000]
    for value in values:
        got = client.call_sync("echo", [value], timeout=20)
        show(got == [value], str(got)[:40])
    show(client.call_sync("echo", {"name": 5}, timeout=10)[0].value())
    show(client.call_sync("echo", "ab", timeout=10))
    show(client.call_sync("call_back", ["add", 2, 3], timeout=10))
    for name, args in (("fail", ["no"]), ("missing", [1]), ("call_back", ["missing"])):
        try:
            client.call_sync(name, args, timeout=10)
        except (handler_module.ReturnError, handler_module.EPCError) as error:
            kind = type(error).__name__
            show(kind, "ValueError" in str(error), "No such method" in str(error))
        except queue.Empty:
            show("no answer")
    show(sorted(row[0].value() for row in client.methods_sync(timeout=10)))
    answers = queue.Queue()
    client.call("echo", [7], answers.put)
    show(answers.get(timeout=60))
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(client.call_sync("echo", [n], 20)))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    show(sorted(results))
    sys.stdout.flush()
    import os

    os._exit(0)


serve() if role == "serve" else use(int(sys.argv[3]))
