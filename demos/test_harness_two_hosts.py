"""A test harness that drives two hosts: sends a test there, runs it on both at once, collects.

Run it as it is: the "hosts" are two processes of this machine.
"""

import os
import subprocess
import sys
import tempfile

import rpyc_like as rpyc
from rpyc_like.utils.server import ThreadedServer

TEST_MODULE = """
import platform, time

LIMITS = {"disk": 90, "swap": 80}

def check_disk(used):
    assert used < LIMITS["disk"], "disk is %d%% full" % used
    return "disk ok at %d%%" % used

def check_python():
    return platform.python_implementation()

def check_slow(seconds):
    time.sleep(seconds)
    return "slept"
"""


def serve():
    """Is a host: prints the port, serves until it is killed."""
    server = ThreadedServer(rpyc.SlaveService, hostname="localhost", port=0)
    thread = server._start_in_thread()
    print(server.port, flush=True)
    thread.join()


class Host:
    """A machine under test."""

    def __init__(self, name):
        self.name = name
        self.proc = subprocess.Popen(
            [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.conn = rpyc.classic.connect("localhost", int(self.proc.stdout.readline()))

    def prepare(self, local_file):
        """Brings the test module there and imports it."""
        self.folder = self.conn.modules.tempfile.mkdtemp()
        remote_file = self.conn.modules.os.path.join(self.folder, "checks.py")
        rpyc.classic.upload(self.conn, local_file, remote_file)
        self.conn.modules.sys.path.insert(0, self.folder)
        self.checks = self.conn.modules.checks
        self.conn.execute("results = []")

    def clean(self):
        """Leaves nothing there."""
        self.conn.modules.shutil.rmtree(self.folder)
        self.conn.close()
        self.proc.kill()
        self.proc.communicate()


def main():
    with tempfile.TemporaryDirectory() as folder:
        local_file = os.path.join(folder, "checks.py")
        with open(local_file, "w") as file:
            file.write(TEST_MODULE)
        hosts = [Host("alpha"), Host("beta")]
        for host in hosts:
            host.prepare(local_file)

    print("-- on both hosts at once")
    pending = [(host, rpyc.async_(host.checks.check_slow)(0.3)) for host in hosts]
    print([host.name for host, result in pending if result.ready])
    for host, result in pending:
        print(host.name, result.value)

    print("-- one after the other")
    for host, used in zip(hosts, (42, 97)):
        try:
            print(host.name, host.checks.check_disk(used))
        except AssertionError as error:
            print(host.name, "FAILED:", error.args[0])
            print(host.name, "remote traceback:", "in check_disk" in str(error))
    hosts[1].checks.LIMITS["disk"] = 99
    print(hosts[1].name, hosts[1].checks.check_disk(97))
    print(hosts[0].name, hosts[0].checks.LIMITS["disk"])

    print("-- with a time limit")
    slow = rpyc.timed(hosts[0].checks.check_slow, 0.2)
    try:
        print(slow(1).value)
    except rpyc.AsyncResultTimeout:
        print("alpha took too long")

    print("-- collected")
    for number, host in enumerate(hosts):
        for value in (number, number + 10):
            host.conn.namespace["results"].append(value)
        print(host.name, rpyc.classic.obtain(host.conn.namespace["results"]))
        squares = host.conn.teleport(lambda numbers: [n * n for n in numbers])
        print(host.name, list(squares(host.conn.namespace["results"])))
        print(host.name, host.checks.check_python() == sys.implementation.name.replace("cp", "CP"))
    for host in hosts:
        host.clean()
    print("cleaned")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
