"""What a hostile peer achieves: ``hostile.py PACKAGE SCENARIO``, with the package of its victim.

Each scenario prints a JSON object: whether the victim came through (``safe``), and what happened.
The attacker speaks bytes, or is a service of the same package that does what services may not do.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
import zlib

package = sys.argv[1]
rpyc = importlib.import_module(package)
brine = importlib.import_module(package + ".core.brine")
server_module = importlib.import_module(package + ".utils.server")
SCENARIOS = {}
PATIENCE = 3.0 if package == "rpyc" else 40.0
"""What RPyC never does is not waited for long; what ours does may take, where others work, too."""
QUICK = 1 if package == "rpyc" else 20
ran = []


def scenario(func):
    SCENARIOS[func.__name__] = func
    return func


def memory():
    """Returns the largest memory of this process so far, in MiB."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


class Victim(rpyc.Service):
    """A service with secrets, and methods that make mistakes."""

    def __init__(self):
        self.secret = "the secret"
        self.evaluated = 0

    def on_connect(self, conn):
        self.conn = conn

    def hidden_method(self):
        """Not for anybody."""

    @property
    def exposed_counted(self):
        self.evaluated += 1
        return self.evaluated

    def exposed_add(self, a, b):
        return a + b

    def exposed_copy(self, obj):
        import copy

        return copy.copy(obj) is not None

    def exposed_generator(self):
        yield 1

    def exposed_fail_badly(self):
        class Evil(Exception):
            @property
            def trap(self):
                raise SystemError("a property that raises")

            def __str__(self):
                raise SystemError("a text that raises")

        raise Evil

    def exposed_unsendable(self):
        class Evil:
            @property
            def __class__(self):
                raise SystemError("no class")

        return Evil()


class Server:
    """The victim, served in this process."""

    def __init__(self, service=Victim, **options):
        options.setdefault("hostname", "127.0.0.1")
        self.server = server_module.ThreadedServer(service, port=0, **options)
        self.server.logger.disabled = True
        threading.Thread(target=self.server.start, daemon=True).start()
        while not self.server.active:
            time.sleep(0.001)
        self.port = self.server.port

    def attack(self):
        """Returns a bare socket."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def connect(self, **kwargs):
        return rpyc.connect("127.0.0.1", self.port, **kwargs)

    def still_works(self):
        conn = self.connect()
        try:
            return conn.root.add(1, 2) == 3
        finally:
            conn.close()


def frame(payload, flag=0, length=None):
    size = len(payload) if length is None else length
    return struct.pack("!LB", size, flag) + payload + b"\n"


def request(seq, handler, boxed):
    return frame(b"\x01" + brine.dump((seq, (handler, boxed))))


def exactly(sock, size):
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ConnectionError
        data += chunk
    return data


def receive(sock):
    """Returns the next payload, or None if the other side hung up or was silent."""
    try:
        size, flag = struct.unpack("!LB", exactly(sock, 5))
        payload = exactly(sock, size + 1)[:-1]
    except OSError:
        return None
    return zlib.decompress(payload) if flag else payload


def hangs_up(sock, patience=PATIENCE):
    """Returns whether the other side hangs up in time."""
    sock.settimeout(patience)
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def ask(sock, seq, handler, boxed):
    """Returns the message type and the value of an answer."""
    sock.sendall(request(seq, handler, boxed))
    payload = receive(sock)
    return (None, None) if payload is None else (payload[0], brine.load(payload[1:])[1])


def closes(data, then_works=True):
    """Sends bytes and says whether the server hangs up and goes on."""
    server = Server()
    with server.attack() as sock:
        sock.sendall(data)
        closed = hangs_up(sock)
    works = server.still_works()
    text = "connection closed" if closed else f"still waiting after {PATIENCE:.0f} s"
    return closed and works, text + ("" if works else ", server dead")


# -- bytes


@scenario
def length_of_4_gib():
    """A header that announces 4 GiB, and 100 MiB of it."""
    server = Server()
    before = memory()
    sent = 0
    with server.attack() as sock:
        try:
            sock.sendall(struct.pack("!LB", 0xFFFFFFFF, 0))
            for _ in range(100):
                sock.sendall(b"x" * (1 << 20))
                sent += 1
        except OSError:
            pass
        time.sleep(0.3)
    grown = memory() - before
    return grown < 50, f"took {sent} MiB, memory grew by {grown} MiB"


@scenario
def compression_bomb():
    """A frame of 400 KiB that inflates to 400 MiB."""
    server = Server()
    before = memory()
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    with server.attack() as sock:
        sock.sendall(request(0, 1, (1, ("x",))))
        receive(sock)
        sock.sendall(frame(packed, 1))
        closed = hangs_up(sock)
    grown = memory() - before
    return closed and grown < 200, f"memory grew by {grown} MiB"


@scenario
def web_browser():
    """An HTTP request."""
    return closes(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n")


@scenario
def empty_frame():
    """A frame of length 0."""
    return closes(frame(b""))


@scenario
def wrong_trailer():
    """A frame that does not end with a newline."""
    payload = request(0, 1, (1, ("x",)))
    return closes(payload[:-1] + b"X")


@scenario
def bytes_after_the_value():
    """A message with more bytes after its end."""
    payload = b"\x01" + brine.dump((0, (1, (1, ("x",))))) + b"junk"
    return closes(frame(payload))


@scenario
def slow_client():
    """Half a frame, and then nothing (with a limit of 1 s, where there is one)."""
    config = {"frame_timeout": 1}
    server = Server(protocol_config=config)
    with server.attack() as sock:
        sock.sendall(struct.pack("!LB", 100, 0) + b"x")
        closed = hangs_up(sock, 1 + PATIENCE)
    return closed, "connection closed" if closed else "its thread waits for ever"


@scenario
def silent_clients():
    """300 clients that connect and say nothing (with a limit of 50, where there is one)."""
    options = {"max_silent_clients": 50} if package != "rpyc" else {}
    server = Server(**options)
    before = threading.active_count()
    socks = [server.attack() for _ in range(300)]
    time.sleep(1)
    threads = threading.active_count() - before
    for sock in socks:
        sock.close()
    return threads <= 60, f"{threads} threads"


@scenario
def huge_power():
    """A request to compute 10 ** 3,000,000 by the operator of a number in the request itself."""
    server = Server()
    with server.attack() as sock:
        started = time.process_time()
        boxed = (2, ((1, 10), (1, "__pow__"), (1, (3_000_000,)), (1, ())))
        ask(sock, 0, 8, boxed)
        taken = time.process_time() - started
    return taken < 0.1, f"computed for {taken:.2f} s" if taken >= 0.1 else "refused"


# -- references


def root_of(sock):
    _, boxed = ask(sock, 0, 3, (1, ()))
    return boxed[1]


@scenario
def addresses():
    """What an id says about memory."""
    kept = []

    class Kept(Victim):
        def on_connect(self, conn):
            kept.append(self)

    server = Server(Kept)
    with server.attack() as sock:
        pack = root_of(sock)
    leaks = id(kept[0]) in pack or id(Kept) in pack
    return not leaks, "ids are memory addresses" if leaks else "ids are numbers from a counter"


@scenario
def forged_reference():
    """An object id that was never given out."""
    server = Server()
    with server.attack() as sock:
        root_of(sock)
        _, error = ask(sock, 1, 4, (2, ((3, ("x.Y", 12345, 67890)), (1, "add"))))
        text = str(error)
        works = ask(sock, 2, 1, (1, ("x",)))[1] == (1, "x")
    internals = "protocol.py" in text
    said = (
        "an error with the server's own source lines" if internals else "an error without details"
    )
    return works and not internals, said


@scenario
def negative_release():
    """Giving back -1,000,000 references, and then the one that is held."""
    server = Server()
    conns = []
    Victim.on_connect = lambda self, conn: conns.append(conn)
    with server.attack() as sock:
        root = root_of(sock)
        _, boxed = ask(sock, 1, 4, (2, ((3, root), (1, "generator"))))
        method = boxed[1]
        ask(sock, 2, 15, (2, ((3, method), (1, -1_000_000))))
        ask(sock, 3, 15, (2, ((3, method), (1, 1))))
        table = conns[0]._local_objects
        held = method in getattr(table, "_dict", table)
    return not held, "the object is held for ever" if held else "clamped, and logged"


@scenario
def releasing_the_root():
    """Giving back the root."""
    server = Server()
    with server.attack() as sock:
        root = root_of(sock)
        ask(sock, 1, 15, (2, ((3, root), (1, 1))))
        ask(sock, 2, 15, (2, ((3, root), (1, 1))))
        kind, _ = ask(sock, 3, 8, (2, ((3, root), (1, "add"), (1, (1, 2)), (1, ()))))
    return kind == 2, "the root is there" if kind == 2 else "the root is gone"


# -- the attribute gate


@scenario
def hidden_names():
    """What DIR and INSPECT tell about a service."""
    server = Server()
    with server.attack() as sock:
        root = root_of(sock)
        names = str(ask(sock, 1, 13, (2, ((3, root),)))[1])
        methods = str(ask(sock, 2, 16, (2, ((1, root),)))[1])
    leaks = [word for word, text in (("secret", names), ("hidden_method", methods)) if word in text]
    return not leaks, "shows " + " and ".join(leaks) if leaks else "shows what is allowed"


@scenario
def property_evaluation():
    """How often reading a property evaluates it."""
    server = Server()
    conn = server.connect()
    times = conn.root.counted
    conn.close()
    return times == 1, f"{times} times"


@scenario
def frame_of_a_generator():
    """The frame of a generator, with allow_public_attrs."""
    server = Server(protocol_config={"allow_public_attrs": True})
    conn = server.connect()
    generator = conn.root.generator()
    try:
        names = generator.gi_frame.f_globals["__name__"]
    except Exception as error:
        return True, f"refused ({type(error).__name__})"
    return False, f"gives the globals of {names}"


@scenario
def classes_and_globals():
    """__class__, __globals__ and __reduce_ex__ by name."""
    server = Server()
    conn = server.connect()
    given = []
    for name in ("__class__", "__globals__", "__dict__", "__reduce_ex__", "__init__"):
        try:
            conn.sync_request(4, conn.root, name)
            given.append(name)
        except AttributeError:
            pass
    return not given, "gives " + ", ".join(given) if given else "refused"


# -- pickles


class Pickled:
    """Runs code where it is unpickled."""

    def __reduce_ex__(self, protocol):
        return run_here, (os.getpid(),)


def run_here(pid):
    ran.append(pid)
    return 1


@scenario
def copy_of_a_proxy():
    """Server code that copies an object which its client has passed."""
    server = Server()
    conn = server.connect(config={"allow_pickle": True})
    try:
        conn.root.copy(Pickled())
        said = "no error"
    except Exception as error:
        said = f"refused ({type(error).__name__})"
    return not ran, "the client's pickle ran on the server" if ran else said


# -- a hostile server


def classic_client(attack):
    """Runs ``attack(conn)`` on the server's side of a classic connection."""
    here, there = socket.socketpair()
    stream = importlib.import_module(package + ".core.stream").SocketStream
    outcome = []

    def serve():
        conn = rpyc.connect_stream(stream(there), rpyc.ClassicService)
        threading.Thread(target=conn.serve_all, daemon=True).start()
        time.sleep(0.5)
        try:
            outcome.append(attack(conn))
        except Exception as error:
            outcome.append(error)

    threading.Thread(target=serve, daemon=True).start()
    conn = rpyc.classic.connect_stream(stream(here))
    end = time.monotonic() + PATIENCE
    while not outcome and time.monotonic() < end:
        conn.serve(0.05)
    return outcome[0] if outcome else None


@scenario
def server_takes_over_its_client():
    """A classic server that asks its client for the module os."""
    got = classic_client(lambda conn: conn.root.getmodule("os").getpid())
    return got != os.getpid(), "it gets it" if got == os.getpid() else "it gets nothing"


def answering(answer):
    """Returns a connection to a server that answers the first call with raw bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = listener.accept()
        while True:
            data = receive(sock)
            if data is None:
                return
            seq, (handler, _) = brine.load(data[1:])
            if handler == 3:
                boxed = (4, ("m.Root", 111, 222))
                sock.sendall(frame(b"\x02" + brine.dump((seq, boxed))))
            elif handler == 16:
                methods = (("__call__", None), ("__len__", None))
                sock.sendall(frame(b"\x02" + brine.dump((seq, (1, methods)))))
            elif handler < 50 and handler != 15:
                reply = answer(seq)
                if reply is not None:
                    sock.sendall(reply)
            else:
                error = (("builtins", "KeyError"), (handler,), (), "")
                sock.sendall(frame(b"\x03" + brine.dump((seq, error))))

    threading.Thread(target=serve, daemon=True).start()
    return rpyc.connect("127.0.0.1", listener.getsockname()[1])


def raising(module, name, args=(), attributes=()):
    error = ((module, name), args, attributes, "text")
    return lambda seq: frame(b"\x03" + brine.dump((seq, error)))


def outcome_of(conn):
    try:
        conn.root.anything
    except BaseException as error:
        return error
    return None


@scenario
def exit_of_the_client():
    """A server whose answer is SystemExit."""
    error = outcome_of(answering(raising("builtins", "SystemExit", (3,))))
    harmless = isinstance(error, Exception)
    return harmless, "an error in the client" if harmless else "the client exits"


@scenario
def evil_attributes():
    """An exception with attributes __class__ and __traceback__."""
    attributes = (("__class__", 5), ("__traceback__", 5), ("__cause__", 5))
    error = outcome_of(answering(raising("builtins", "ValueError", ("x",), attributes)))
    said = type(error).__name__
    return said == "ValueError", f"{said} is raised"


@scenario
def import_by_name():
    """A classic server whose exception names a module that the client has not imported."""
    name = "this"
    sys.modules.pop(name, None)
    here = sys.modules.get(name)
    assert here is None
    stdout, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    try:
        classic = {"import_custom_exceptions": package == "rpyc"}  # what classic.connect sets
        conn = answering(raising(name, "Error"))
        conn._config.update(classic)
        outcome_of(conn)
    finally:
        sys.stdout = stdout
    imported = name in sys.modules
    return not imported, "the client imports it" if imported else "not imported"


@scenario
def many_exception_classes():
    """10,000 exceptions of different classes."""
    vinegar = importlib.import_module(package + ".core.vinegar")
    for number in range(10_000):
        error = (("m", f"C{number}"), (), (), "")
        vinegar.load(error, False, False, False)
    gc.collect()
    held = len(vinegar._generic_exceptions_cache)
    return held < 2000, f"{held} classes are kept"


@scenario
def exception_that_raises():
    """An exception whose text and property raise."""
    server = Server()
    conn = server.connect()
    try:
        conn.root.fail_badly()
    except EOFError:
        return False, "the connection is dead"
    except Exception as error:
        return conn.root.add(1, 2) == 3, f"{type(error).__name__.rpartition('.')[2]} is raised"


@scenario
def result_that_cannot_be_sent():
    """A result whose __class__ raises."""
    server = Server()
    conn = server.connect()
    try:
        conn.root.unsendable()
    except EOFError:
        return False, "the connection is dead"
    except Exception as error:
        return conn.root.add(1, 2) == 3, f"{type(error).__name__} is raised"


@scenario
def malformed_reference_in_an_answer():
    """An answer that names an object of the client's that was never sent."""
    boxed = (3, ("x.Y", 1, 2))
    error = outcome_of(answering(lambda seq: frame(b"\x02" + brine.dump((seq, boxed)))))
    clear = "never sent" in str(error)
    return clear, f"{type(error).__name__}"


# -- hanging


@scenario
def closing_on_a_hung_peer():
    """close() when the peer does not answer."""
    conn = answering(lambda seq: None)
    conn.root
    started = time.monotonic()
    thread = threading.Thread(target=conn.close, daemon=True)
    thread.start()
    thread.join(60)
    taken = time.monotonic() - started
    said = "more than 6 s" if thread.is_alive() else f"{taken:.0f} s"
    return not thread.is_alive() and taken < 2 + QUICK, said


@scenario
def timed_out_requests():
    """10,000 requests that were given up."""
    conn = answering(lambda seq: None)
    root = conn.root
    for _ in range(10_000):
        try:
            result = conn.async_request(4, root, "x", timeout=0)
            result.wait()
        except TimeoutError:
            pass
    del result
    gc.collect()
    kind = type(conn.async_request(1, "x")).__name__
    left = sum(type(obj).__name__ == kind for obj in gc.get_objects()) - 1
    return left < 10, f"{left} results are kept"


@scenario
def killed_peer():
    """A peer that is killed while four threads wait for it."""
    here, there = socket.socketpair()
    stream = importlib.import_module(package + ".core.stream").SocketStream
    child = os.fork()
    if child == 0:
        here.close()
        conn = rpyc.connect_stream(stream(there), Sleeper)
        conn.serve_threaded(8)
        os._exit(0)
    there.close()
    conn = rpyc.connect_stream(stream(here))
    sleep = conn.root.sleep
    errors = []

    def wait():
        try:
            sleep(60)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    started = time.monotonic()
    for thread in threads:
        thread.join(PATIENCE)
    taken = time.monotonic() - started
    failed = sum(isinstance(error, EOFError) for error in errors)
    return failed == 4 and taken < QUICK, f"{failed} of 4 fail with EOFError"


class Sleeper(rpyc.Service):
    def exposed_sleep(self, seconds):
        time.sleep(seconds)

    def exposed_quick(self):
        return 1

    def exposed_bounce(self, func):
        return func(func)


@scenario
def forked_child():
    """A child process that ends after a fork, with proxies of its parent's."""
    server = Server()
    conn = server.connect()
    item = conn.root.generator()
    child = os.fork()
    if child == 0:
        del item
        gc.collect()
        time.sleep(0.3)
        os._exit(0)
    os.waitpid(child, 0)
    try:
        alive = next(item) == 1
    except Exception as error:
        return False, f"the parent's object is gone ({type(error).__name__})"
    return alive, "the parent's object is there" if alive else "the parent gets wrong answers"


@scenario
def call_after_one_that_timed_out():
    """A call whose time is over after 0.2 s, and a quick one after it, while the first goes on."""
    server = Server(Sleeper)
    conn = server.connect()
    sleep, ping = conn.root.sleep, conn.root.quick
    timed = rpyc.timed(sleep, 0.2)
    try:
        timed(2 * QUICK).value
    except Exception:
        pass
    started = time.monotonic()
    ping()
    taken = time.monotonic() - started
    return taken < QUICK, f"answered after {taken:.1f} s"


@scenario
def stopped_server():
    """A server that is stopped while a call waits (with signs of life, where there are any)."""
    here, there = socket.socketpair()
    stream = importlib.import_module(package + ".core.stream").SocketStream
    child = os.fork()
    if child == 0:
        here.close()
        rpyc.connect_stream(stream(there), Sleeper).serve_all()
        os._exit(0)
    there.close()
    config = {} if package == "rpyc" else {"heartbeat": 0.3}
    conn = rpyc.connect_stream(stream(here), config=config)
    sleep = conn.root.sleep
    ended = []

    def wait():
        try:
            sleep(60)
        except EOFError as error:
            ended.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    time.sleep(0.3)
    os.kill(child, signal.SIGSTOP)
    started = time.monotonic()
    thread.join(PATIENCE)
    taken = time.monotonic() - started
    os.kill(child, signal.SIGKILL)
    if ended:
        return True, f"noticed after {taken:.1f} s"
    return False, f"waits for more than {PATIENCE:.0f} s"


@scenario
def client_that_does_not_read():
    """A client that asks and reads nothing (with a limit of 1 s, where there is one)."""
    options = {} if package == "rpyc" else {"protocol_config": {"send_timeout": 1}}
    server = Server(**options)
    before = threading.enumerate()
    with server.attack() as sock:
        sock.settimeout(0.5)
        data = os.urandom(60_000)
        try:
            for number in range(500):
                sock.sendall(request(number, 1, (1, (data,))))
        except OSError:
            pass
        time.sleep(3)
        left = [thread for thread in threading.enumerate() if thread not in before]
    kept = any(not thread.name.startswith("rpyc_like-") for thread in left)
    return not kept, "its thread waits for ever" if kept else "it is given up"


@scenario
def no_descriptors_left():
    """A server that has no descriptors left for a second, and then has some again."""
    server = Server()
    server.connect().close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = [socket.socket() for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    for sock in waiting:
        try:
            sock.connect(("127.0.0.1", server.port))
        except OSError:
            pass  # the server has ended already
    time.sleep(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        alive = server.still_works()
    except Exception as error:
        return False, f"the server has ended ({type(error).__name__})"
    return alive, "the server goes on"


@scenario
def recursion_between_the_sides():
    """Two sides that call each other without end."""
    server = Server(Sleeper)
    conn = server.connect()
    bounce = conn.root.bounce

    def back(func):
        return bounce(func)

    try:
        bounce(back)
        said = "no error"
    except RecursionError:
        said = "RecursionError"
    except Exception as error:
        said = type(error).__name__
    try:
        works = conn.root.quick() == 1
    except Exception:
        works = False
    return works, f"{said}, and the connection {'goes on' if works else 'is dead'}"


@scenario
def full_pipes():
    """Both sides send 8 MiB through pipes at the same time, ten times."""
    stream = importlib.import_module(package + ".core.stream").PipeStream
    (from_here, to_there), (from_there, to_here) = os.pipe(), os.pipe()
    files = [os.fdopen(fd, mode, 0) for fd, mode in ((from_there, "rb"), (to_there, "wb"))]
    others = [os.fdopen(fd, mode, 0) for fd, mode in ((from_here, "rb"), (to_here, "wb"))]
    one, two = rpyc.connect_stream(stream(*files)), rpyc.connect_stream(stream(*others))
    for conn in (one, two):
        threading.Thread(target=conn.serve_all, daemon=True).start()
    data = os.urandom(8 << 20)
    done = []

    def ping(conn):
        for _ in range(10):
            conn.ping(data, timeout=PATIENCE)
        done.append(conn)

    threads = [threading.Thread(target=ping, args=(conn,), daemon=True) for conn in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
    return len(done) == 2, "both arrive" if len(done) == 2 else f"{2 - len(done)} of 2 hang"


# -- defaults


@scenario
def default_address():
    """Where a server listens that was not told."""
    server = server_module.ThreadedServer(Victim, port=0)
    host = server.host
    server.listener.close()
    return host == "127.0.0.1", host


@scenario
def open_classic_server():
    """A classic server on all addresses, without authentication."""
    try:
        server = server_module.ThreadedServer(rpyc.ClassicService, hostname="0.0.0.0", port=0)
    except Exception as error:
        return True, f"refused ({type(error).__name__})"
    server.listener.close()
    return False, "starts"


@scenario
def self_signed_server():
    """A TLS client and a server whose certificate nobody has signed."""
    import tempfile

    import trustme

    authenticators = importlib.import_module(package + ".utils.authenticators")
    with tempfile.TemporaryDirectory() as folder:
        issued = trustme.CA().issue_cert("somewhere.else")
        key, cert = os.path.join(folder, "key"), os.path.join(folder, "cert")
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(cert)
        server = Server(authenticator=authenticators.SSLAuthenticator(key, cert))
        try:
            conn = rpyc.ssl_connect("127.0.0.1", server.port)
            works = conn.root.add(1, 2) == 3
        except Exception as error:
            return True, f"refused ({type(error).__name__})"
        return not works, "connected"


# -- what is checked once, and who takes the room


@scenario
def download_outside():
    """A classic server whose listing has names that lead elsewhere, some at the second look."""
    import tempfile
    from types import SimpleNamespace

    class Name:
        looks = 0

        def __fspath__(self):
            Name.looks += 1
            return "fine" if Name.looks % 2 else "../PWNED"

        def __eq__(self, other):
            return other == "fine"

        def __ne__(self, other):
            return other != "fine"

    names = [[Name()], ["../PWNED"]]
    path = SimpleNamespace(
        isdir=lambda path: path == "/data",
        isfile=lambda path: path != "/data",
        join=lambda folder, name: f"{folder}/x",
    )
    fake = SimpleNamespace(
        path=path,
        listdir=lambda path: names[0],
        fstat=lambda fd: SimpleNamespace(st_size=1),
    )

    class File(io.BytesIO):
        def fileno(self):
            return 0

    class Hostile(rpyc.ClassicService):
        def getmodule(self, name):
            if name == "os":
                return fake
            if name == "builtins":
                return SimpleNamespace(open=lambda *args: File(b"x"))
            return super().getmodule(name)

    server = Server(Hostile)
    written = []
    with tempfile.TemporaryDirectory() as folder:
        while names:
            conn = rpyc.classic.connect("127.0.0.1", server.port)
            target = os.path.join(folder, "a", "b")
            os.makedirs(target, exist_ok=True)
            with contextlib.suppress(Exception):
                rpyc.classic.download(conn, "/data", target)
            written += [name for name in os.listdir(os.path.dirname(target)) if name != "b"]
            names.pop(0)
    return not written, f"wrote {written[0]} beside the folder" if written else "refused"


def registry_server():
    """Returns a registry that is running, and what sends it a message from an address."""
    registry = importlib.import_module(package + ".utils.registry")
    server = registry.UDPRegistryServer(host="0.0.0.0", port=0, allow_listing=True)
    threading.Thread(target=server.start, daemon=True).start()

    def send(source, command, *args, timeout=1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.settimeout(timeout)
            sock.sendto(brine.dump(("RPYC", command, args)), ("127.0.0.1", server.port))
            try:
                return brine.load(sock.recv(2000))
            except TimeoutError:
                return None

    return send


@scenario
def registry_room():
    """A host that registers a service on 150 ports, and one that registers it on one."""
    send = registry_server()
    for port in range(1, 151):
        send("127.0.0.1", "REGISTER", ("calc",), port, timeout=0.02)
    send("127.0.0.2", "REGISTER", ("calc",), 80)
    try:
        found = send("127.0.0.3", "QUERY", "calc") or ()
    except Exception:
        return False, "the answer cannot be read"
    there = ("127.0.0.2", 80) in found
    return there, "both are found" if there else "the second is not found"


@scenario
def registry_shape():
    """A registry whose answer is something else than addresses."""
    registry = importlib.import_module(package + ".utils.registry")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve():
        while True:
            _, peer = sock.recvfrom(2000)
            sock.sendto(brine.dump((("h", "no port"), 5)), peer)

    threading.Thread(target=serve, daemon=True).start()
    client = registry.UDPRegistryClient("127.0.0.1", sock.getsockname()[1], timeout=0.5)
    try:
        found = client.discover("x")
    except Exception as error:
        return False, type(error).__name__
    return not found, "silence" if not found else f"believed: {found!r}"


# -- what a message becomes, and what an exported object leads to


def slowest_answer(server, disturb):
    """Returns the longest wait of another client while ``disturb()`` goes on, in seconds."""
    other = server.connect(config={"sync_request_timeout": 60})
    other.root.add(1, 2)
    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    slowest, last = 0.0, time.monotonic()
    while thread.is_alive():
        other.root.add(1, 2)
        time.sleep(0.01)
        now = time.monotonic()
        slowest, last = max(slowest, now - last), now
    return slowest


@scenario
def keys_of_one_hash():
    """A set of 30,000 numbers that all hash to the same, from one client; another one asks."""
    server = Server()
    numbers = [number * ((1 << 61) - 1) for number in range(1, 30_001)]
    items = b"\x1a\x15" + struct.pack("!L", len(numbers)) + b"".join(map(brine.dump, numbers))
    boxed = b"\x11\x52\x10\x11\x51" + items
    payload = b"\x01\x11" + brine.dump(1) + b"\x11" + brine.dump(1) + boxed

    def disturb():
        with server.attack() as sock:
            sock.settimeout(60)
            sock.sendall(frame(payload))
            receive(sock)

    slowest = slowest_answer(server, disturb)
    quick = slowest < 1
    return quick, "the other waits for less than 1 s" if quick else "the other waits for seconds"


@scenario
def many_empty_sets():
    """A frame of 2 KiB that inflates to 3 MB: 1,500,000 empty sets of 216 bytes each."""
    server = Server()
    count = 1_500_000
    items = b"\x15" + struct.pack("!L", count) + b"\x1a\x02" * count
    payload = (
        b"\x01\x11" + brine.dump(1) + b"\x11" + brine.dump(1) + b"\x11\x52\x10\x11\x51" + items
    )
    before = memory()
    with server.attack() as sock:
        sock.settimeout(60)
        sock.sendall(frame(zlib.compress(payload), flag=1))
        receive(sock)
    grown = memory() - before
    works = server.still_works()
    few = grown < 160
    return (
        works and few,
        "memory grew by less than 160 MiB" if few else "memory grew by 300 MiB and more",
    )


@scenario
def format_of_a_text():
    """A text of the peer's that is formatted with an exported object, with allow_public_attrs."""
    server = Server(protocol_config={"allow_public_attrs": True})
    with server.attack() as sock:
        root = root_of(sock)
        text = "{0.secret}{0.exposed_add.__func__.__globals__[package]}"
        boxed = (2, ((1, text), (1, "format"), (2, ((3, root),)), (1, ())))
        kind, value = ask(sock, 1, 8, boxed)
    leaked = kind == 2 and "the secret" in repr(value)
    return not leaked, "gives a secret and globals" if leaked else "refused"


@scenario
def attrgetter():
    """A service that exports operator.attrgetter: the peer names a private attribute."""
    import operator

    class Getter(Victim):
        exposed_getter = operator.attrgetter
        exposed_self = property(lambda self: self)

    server = Server(Getter)
    conn = server.connect()
    try:
        value = conn.root.getter("secret")(conn.root)
    except Exception as error:
        return isinstance(error, AttributeError), "refused"
    return False, f"gives {value!r}"


def main():
    name = sys.argv[2]
    safe, text = SCENARIOS[name]()
    print(json.dumps({"safe": bool(safe), "text": text}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
