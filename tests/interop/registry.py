"""One side of the registry: ``registry.py PACKAGE server|register|ask KIND PORT``."""

import importlib
import sys
import threading

package, role, kind, port = sys.argv[1:]
registry = importlib.import_module(package + ".utils.registry")


def main():
    if role == "server":
        options = {"host": "127.0.0.1", "port": 0, "allow_listing": True}
        server = getattr(registry, f"{kind}RegistryServer")(**options)
        print(server.port, flush=True)
        threading.Thread(target=server.start, daemon=True).start()
        sys.stdin.read()
        return
    client = getattr(registry, f"{kind}RegistryClient")("127.0.0.1", int(port))
    if role == "register":
        print(client.register(("Found", "also"), 4321))
        return
    print(client.discover("found"))
    print(client.list())
    print(client.list("192.0.2.1"))
    client.unregister(4321)
    print(client.discover("found"))


main()
