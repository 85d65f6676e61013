"""Workers that register themselves, and a client that finds them and divides work among them."""

import socket
import threading
import time

import rpyc_like as rpyc
from rpyc_like.utils.factory import DiscoveryError
from rpyc_like.utils.registry import UDPRegistryClient, UDPRegistryServer
from rpyc_like.utils.server import ThreadPoolServer


class PrimeService(rpyc.Service):
    """Counts primes; also known as SIEVE."""

    ALIASES = ["PRIME", "SIEVE"]

    def exposed_count(self, start, stop):
        return sum(
            all(number % divisor for divisor in range(2, int(number**0.5) + 1))
            for number in range(max(2, start), stop)
        )


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition):
    end = time.time() + 10
    while time.time() < end:
        outcome = condition()
        if outcome:
            return outcome
        time.sleep(0.05)
    return condition()


def main():
    port = free_port()
    registry = UDPRegistryServer(host="127.0.0.1", port=port, allow_listing=True)
    threading.Thread(target=registry.start, daemon=True).start()
    registrar = UDPRegistryClient(ip="127.0.0.1", port=port, timeout=1)

    def found(name="PRIME"):
        try:
            return rpyc.discover(name, registrar=registrar)
        except DiscoveryError:
            return ()

    print("before:", len(found()))
    workers = []
    for _ in range(3):
        server = ThreadPoolServer(
            PrimeService,
            hostname="127.0.0.1",
            port=0,
            registrar=registrar,
            auto_register=True,
            nbThreads=2,
        )
        server._start_in_thread()
        workers.append(server)
    addresses = eventually(lambda: len(found()) == 3 and found())
    print("workers:", len(addresses), {host for host, _ in addresses})
    print("ports are theirs:", {p for _, p in addresses} == {server.port for server in workers})
    print("services:", sorted(rpyc.list_services(registrar)))
    print("under the other name:", len(found("sieve")))

    conns = [rpyc.connect(*address) for address in addresses]
    ranges = [(start, start + 500) for start in range(0, 6000, 500)]
    jobs = [
        (span, rpyc.async_(conns[number % len(conns)].root.count)(*span))
        for number, span in enumerate(ranges)
    ]
    counts = {span: job.value for span, job in jobs}
    print("primes below 6000:", sum(counts.values()))
    print("first and last:", counts[ranges[0]], counts[ranges[-1]])

    any_worker = rpyc.connect_by_service("PRIME", registrar=registrar)
    print("any of them:", any_worker.root.count(0, 100), any_worker.root.get_service_name())
    any_worker.close()
    for conn in conns:
        conn.close()
    for server in workers:
        server.close()
        registrar.unregister(server.port)
    print("afterwards:", len(found()))
    try:
        rpyc.connect_by_service("PRIME", registrar=registrar)
    except DiscoveryError:
        print("nobody is left")
    registry.close()


if __name__ == "__main__":
    main()
