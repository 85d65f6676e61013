"""Wrong values of configuration keys and of arguments of servers (case 125)."""

from __future__ import annotations

import asyncio
import math
import operator
import re
import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core import config
from rpyc_like.core.config import DEFAULT_CONFIG, KINDS
from rpyc_like.epc.client import EPCClient
from rpyc_like.epc.server import EPCServer
from rpyc_like.epc.service import EPCService
from rpyc_like.erlport.service import ErlangService, PortService

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
ODD = math.nan, math.inf, -math.inf, "x", b"x", "5", [], {}, object(), True, 1j
FREE = {"connid", "credentials", "endpoints", "logger"}
FLAGS = sorted(key for key, value in DEFAULT_CONFIG.items() if isinstance(value, bool))
COUNTS = sorted(key for key in KINDS if key.startswith(("max_", "concurrent_")))
TIMES = ["sync_request_timeout", "frame_timeout", "send_timeout", "heartbeat", "busy_poll"]


class Index:
    """An integer of another library."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Own(int):
    """An integer of the program."""


def refused(key: str, value: Any) -> str:
    """Return what is said about the value of a key."""
    with pytest.raises((TypeError, ValueError)) as caught:
        config.make_config({key: value})
    return str(caught.value)


def test_case_125_every_key_has_a_kind() -> None:
    """The table of kinds has the keys of the defaults, and these are of their kinds."""
    assert KINDS.keys() == DEFAULT_CONFIG.keys()
    for key, value in DEFAULT_CONFIG.items():
        assert KINDS[key].take(value) == value


def test_case_125_the_documented_keys_are_those_of_the_table() -> None:
    """The reference of the configuration has a row for each key."""
    table = DOCS.read_text().partition("| key |")[2].partition("\n\n")[0]
    rows = [re.match(r"\| ((`\w+`(, )?)+) \|", line) for line in table.splitlines()]
    keys = {key for row in rows if row for key in re.findall(r"`(\w+)`", row[1])}
    assert keys - {"admission"} == KINDS.keys()


@pytest.mark.parametrize("key", sorted(KINDS.keys() - FREE - {"before_closed"}))
def test_case_125_wrong_values_are_refused(key: str) -> None:
    """No odd value is accepted for a key, and the error says key, expected, got."""
    accepted = []
    for value in ODD:
        try:
            config.make_config({key: value})
        except (TypeError, ValueError) as error:
            assert re.match(rf"config\['{key}'\]: expected .+; got .+", str(error))
        else:
            accepted.append(value)
    good = [True] if key in {*FLAGS, "allow_obtain", "include_local_traceback"} else []
    good += ["x", "5"] if key == "exposed_prefix" else [[], {}] if key == "safe_attrs" else []
    assert accepted == good or sorted(map(repr, accepted)) == sorted(map(repr, good))


@pytest.mark.parametrize("key", FLAGS)
@pytest.mark.parametrize("value", ["False", "", "no", b"0", (), 1.5])
def test_case_125_a_text_is_no_flag(key: str, value: Any) -> None:
    """What RPyC would take as true although it reads as false is an error."""
    if key == "include_local_traceback" and value == "short":
        return
    assert re.match(rf"config\['{key}'\]: expected .*True", refused(key, value))


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("value", [-1, 1.0, 1.5, "1M", False])
def test_case_125_counts_are_integers(key: str, value: Any) -> None:
    """Negative and fractional numbers are no limits."""
    assert "expected an integer of at least" in refused(key, value)


@pytest.mark.parametrize("key", TIMES)
@pytest.mark.parametrize("value", ["5", math.nan, math.inf, True])
def test_case_125_times_are_finite(key: str, value: Any) -> None:
    """No time-out is a text, without end by a number, or not a number."""
    assert "expected a finite number of" in refused(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in FLAGS for value in (0, 1, 2, None, Own(1), Index(0))),
        *((key, value) for key in COUNTS for value in (1, Own(7), Index(7), 10**12)),
        *((key, value) for key in TIMES for value in (1, 0.5, Fraction(1, 2), Own(3))),
        *(("sync_request_timeout", value) for value in (None, -1, 0)),
        *(("safe_attrs", kind({"__len__"})) for kind in (list, tuple, set, frozenset)),
        ("safe_attrs", {"__len__": 1}),
        ("exposed_prefix", ""),
        ("before_closed", print),
        ("before_closed", None),
        ("connid", 5),
        ("logger", "anything"),
        ("credentials", object()),
        ("dialect", 5),
        ("include_local_traceback", "short"),
        ("max_memory", None),
        ("max_kept_memory", None),
        ("own_key_of_the_program", "x"),
    ],
)
def test_case_125_what_rpyc_accepts_is_accepted(key: str, value: Any) -> None:
    """Right values are taken as they are, other kinds of integers as integers."""
    made = config.make_config({key: value})[key]
    exact = key in COUNTS and isinstance(value, Index)
    assert made == (operator.index(value) if exact else value)


def test_case_125_no_prefix_is_an_empty_one() -> None:
    """None as the prefix means that nothing has one."""
    assert config.make_config({"exposed_prefix": None})["exposed_prefix"] == ""


def test_case_125_numbers_of_numpy_are_numbers() -> None:
    """What numpy computes may be a limit, a time or a flag."""
    numpy = pytest.importorskip("numpy")
    made = config.make_config(
        {
            "max_steps": numpy.int32(5),
            "sync_request_timeout": numpy.float32(0.5),
            "allow_pickle": numpy.bool_(False),
        }
    )
    assert type(made["max_steps"]) is int
    assert made["sync_request_timeout"] == 0.5


def test_case_125_the_live_defaults_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong default is named as one."""
    monkeypatch.setitem(DEFAULT_CONFIG, "max_depth", "deep")
    with pytest.raises(TypeError, match=r"^DEFAULT_CONFIG\['max_depth'\]: expected .*got 'deep'$"):
        config.make_config({"max_steps": 5})


def test_case_125_safe_names_in_a_list_work() -> None:
    """Names that are given as a list are safe, for a client of a classic server as well."""
    made = config.make_config({"safe_attrs": ["__len__"]})
    assert "__len__" in config.client_settings(made)["safe_attrs"]


WRONG: list[tuple[str, Any]] = [
    ("max_silent_clients", "x"),
    ("max_silent_clients", 0),
    ("max_silent_clients", None),
    ("max_silent_clients", True),
    ("max_silent_per_address", -1),
    ("max_silent_per_address", 1.5),
    ("max_memory", "1GiB"),
    ("max_memory", -1),
    ("auth_timeout", -1),
    ("auth_timeout", math.nan),
]
OF_SERVERS: list[tuple[str, Any]] = [
    *WRONG,
    *(("port", port) for port in (-1, 65536, 70000, "x", "70000", 1.5, True, b"1")),
    ("grace", "x"),
    ("grace", math.nan),
    ("idle_timeout", -1),
    ("listener_timeout", "soon"),
    ("backlog", 1.5),
    ("insecure", "no"),
    ("tell_systemd", "no"),
    ("authenticator", "password"),
    ("protocol_config", [("max_steps", 1)]),
]
SERVERS: dict[str, Callable[..., Any]] = {
    "threaded": rpyc.ThreadedServer,
    "pool": rpyc.ThreadPoolServer,
    "one shot": rpyc.OneShotServer,
    "forking": rpyc.ForkingServer,
    "asyncio": aio.Server,
}


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a socket is made."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)


def make(kind: str, **options: Any) -> None:
    """Make a server, with asyncio on a loop."""

    async def main() -> None:
        SERVERS[kind](rpyc.Service, **options)

    options = {"port": 0, **options}
    asyncio.run(main()) if kind == "asyncio" else SERVERS[kind](rpyc.Service, **options)


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(("argument", "value"), OF_SERVERS)
def test_case_125_wrong_arguments_of_servers(
    kind: str, argument: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong argument is named before anything is bound."""
    monkeypatch.setattr(
        "rpyc_like.utils.base_server.listen_tcp", lambda *args: pytest.fail("bound an address")
    )
    with pytest.raises((TypeError, ValueError), match=f"argument '{argument}': expected .*; got "):
        make(kind, **{argument: value})


@pytest.mark.parametrize("kind", SERVERS)
def test_case_125_wrong_keys_of_a_server(kind: str) -> None:
    """A wrong value of a key is an error when the server is made, not when a client comes."""
    with pytest.raises(TypeError, match=r"^protocol_config\['max_frame_size'\].*; got '1M'$"):
        make(kind, protocol_config={"max_frame_size": "1M"})


@pytest.mark.parametrize(
    ("kind", "argument", "value"),
    [
        ("pool", "nbThreads", 0),
        ("pool", "nbThreads", "many"),
        ("pool", "requestBatchSize", -1),
        ("asyncio", "max_threads", "x"),
        ("asyncio", "max_threads", 1.5),
        ("asyncio", "threads", -1),
        ("asyncio", "affinity", "tight"),
        ("asyncio", "affinity", 1.5),
    ],
)
def test_case_125_arguments_of_one_server(kind: str, argument: str, value: Any) -> None:
    """Arguments that only one server has are checked as well."""
    with pytest.raises((TypeError, ValueError), match=f"argument '{argument}': expected"):
        make(kind, **{argument: value})


@pytest.mark.parametrize(("argument", "value"), [*WRONG, ("exit_with_stdin", "no")])
def test_case_125_wrong_arguments_of_an_epc_server(
    argument: str, value: Any, no_sockets: None
) -> None:
    """The EPC server checks the arguments that it has in common with the others."""
    with pytest.raises((TypeError, ValueError), match=f"argument '{argument}': expected"):
        EPCServer(("127.0.0.1", 0), **{argument: value})


@pytest.mark.parametrize(
    ("make", "argument", "value"),
    [
        (EPCService, "max_threads", "x"),
        (EPCService, "ordered", "no"),
        (ErlangService, "max_items", "x"),
        (ErlangService, "max_held_memory", -1),
        (ErlangService, "max_frame_size", "1M"),
        (ErlangService, "packet", 3),
        (ErlangService, "pickled", "no"),
        (lambda **options: PortService(print, **options), "packet", 3),
        (lambda **options: PortService(print, **options), "max_queued_bytes", True),
    ],
)
def test_case_125_wrong_arguments_of_services(
    make: Callable[..., Any], argument: str, value: Any
) -> None:
    """Services of the other protocols are refused when they are made."""
    with pytest.raises((TypeError, ValueError), match=f"argument '{argument}': expected"):
        make(**{argument: value})


def test_case_125_limits_that_are_changed_later_are_checked() -> None:
    """The attributes of a server and its admission refuse what the arguments refuse."""
    with rpyc.ThreadedServer(rpyc.Service, port=0) as server:
        with pytest.raises(TypeError, match="argument 'max_silent_clients': expected"):
            server.max_silent_clients = "x"  # type: ignore[assignment]
        with pytest.raises(ValueError, match="argument 'auth_timeout': expected"):
            server.admission.auth_timeout = -1
        server.max_silent_clients = 5
        assert server.admission.max_silent_clients == 5


def test_case_125_wrong_keys_of_a_client() -> None:
    """A connection with a wrong value is not opened."""
    with rpyc.ThreadedServer(rpyc.Service, port=0) as server:
        server._start_in_thread()
        with pytest.raises(TypeError, match=r"^config\['max_steps'\]"):
            rpyc.connect("127.0.0.1", server.port, config={"max_steps": "x"})


async def aio_connect(host: str, port: Any) -> None:
    """Connect on a loop."""
    await aio.connect(host, port)


PORTS = [-1, 65536, 70_000, "x", None, 1.5, True]


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    "connect",
    [
        lambda port: rpyc.connect("127.0.0.1", port),
        lambda port: rpyc.ssl_connect("127.0.0.1", port),
        lambda port: rpyc.classic.connect("127.0.0.1", port),
        lambda port: asyncio.run(aio_connect("127.0.0.1", port)),
        lambda port: EPCClient(("127.0.0.1", port)),
        lambda port: EPCServer(("127.0.0.1", port)),
        lambda port: rpyc.utils.registry.UDPRegistryClient(port=port),
        lambda port: rpyc.utils.registry.TCPRegistryClient("127.0.0.1", port=port),
        lambda port: rpyc.utils.registry.UDPRegistryServer(port=port),
    ],
)
def test_wrong_ports_are_refused(connect: Callable[[Any], Any], port: Any) -> None:
    """What is no port is refused, by its value."""
    with pytest.raises((TypeError, ValueError)) as caught:
        connect(port)
    assert re.search(r"port.*: expected a port, .* 65535; got ", str(caught.value))


def test_a_port_may_be_a_decimal_text() -> None:
    """What a program has from its command line is a port, as with RPyC."""
    with rpyc.ThreadedServer(rpyc.VoidService, port="0") as server:
        server._start_in_thread()
        with rpyc.connect("127.0.0.1", str(server.port)) as conn:  # type: ignore[arg-type]
            conn.ping()


@pytest.mark.parametrize(
    ("key", "value", "bounds"),
    [
        *(("heartbeat", value, "0.05 to 3600") for value in (0, 0.01, 3601)),
        *(("busy_poll", value, "0 to 1000") for value in (-1, 1001, 5000)),
    ],
)
def test_documented_bounds_hold(key: str, value: Any, bounds: str) -> None:
    """A number beyond the bounds that the documentation names is refused, with the key."""
    assert re.match(rf"config\['{key}'\]: expected .* from {bounds}", refused(key, value))


def test_the_kind_of_flags_is_said() -> None:
    """The error says all that a flag may be."""
    assert "expected a bool (True or False), an integer or None" in refused("allow_all_attrs", "x")


def test_a_server_leaves_the_callers_configuration_alone() -> None:
    """One dictionary may be that of two servers, each of which logs under its own name."""
    shared: dict[str, Any] = {"max_steps": 1000}
    found: list[Any] = []

    class Seeing(rpyc.Service):
        def on_connect(self, conn: Any) -> None:
            found.append(conn._config["logger"])

    for _ in range(2):
        with rpyc.ThreadedServer(Seeing, port=0, protocol_config=shared) as server:
            server._start_in_thread()
            with rpyc.connect("127.0.0.1", server.port) as conn:
                conn.ping()
            assert found.pop() is server.logger
            assert server.protocol_config is shared
    assert shared == {"max_steps": 1000}
