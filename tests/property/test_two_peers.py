"""Two peers that lend, pass on and give back objects, in any order, over a link that may tamper.

The model knows who holds what. On an honest link the tables of both sides say the same when all is
quiet; on one that drops, doubles and delays what gives references back, objects may live too long
or be gone, which is an error of that one call, and nothing else breaks.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections import deque
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import rpyc_like as rpyc
from rpyc_like.core import brine, consts
from rpyc_like.core.protocol import Connection
from rpyc_like.link.channel import Channel
from rpyc_like.link.streams import MemoryStream
from rpyc_like.wire.framing import RpycFramer


class Thing:
    """Something that is lent."""

    def __init__(self, number: int) -> None:
        self.number = number

    def exposed_number(self) -> int:
        return self.number


class Lender(rpyc.Service):
    """Makes things, gives them again, and keeps what it is given."""

    def __init__(self) -> None:
        self.made: weakref.WeakValueDictionary[int, Thing] = weakref.WeakValueDictionary()
        self.kept: dict[int, Any] = {}
        self._count = 0

    def exposed_make(self) -> tuple[int, Thing]:
        self._count += 1
        thing = self.made[self._count] = Thing(self._count)
        return self._count, thing

    def exposed_again(self, thing: Any) -> Any:
        return thing

    def exposed_pair(self, thing: Any) -> Any:
        return (thing, thing)

    def exposed_keep(self, number: int, thing: Any) -> None:
        self.kept[number] = thing

    def exposed_ask(self, number: int) -> Any:
        return self.kept[number].exposed_number()

    def exposed_drop(self, number: int) -> None:
        del self.kept[number]


class Tampering:
    """Carries frames from one stream to another; does what it is told to DEL requests."""

    def __init__(self, source: MemoryStream, sink: MemoryStream) -> None:
        self.plan: deque[str] = deque()
        self._held: list[bytes] = []
        self._source, self._sink = source, sink
        self._framer = RpycFramer(compress=False)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while True:
                data = self._source.recv_wait(None)
                if not data:
                    break
                for payload in self._framer.feed(data):
                    for one in self._passed(payload):
                        self._sink.write(self._framer.encode(one))
        except EOFError:
            pass
        self._sink.close()

    def _passed(self, payload: bytes) -> list[bytes]:
        """Returns what goes on in place of a payload."""
        if payload[0] != consts.MSG_REQUEST:
            return [payload]
        request = brine.load(payload[1:])
        if request[1][0] != consts.HANDLE_DEL or not self.plan:
            held, self._held = self._held, []
            return [*held, payload] if request[1][0] != consts.HANDLE_DEL else [payload]
        what = self.plan.popleft()
        if what == "drop":
            return []
        if what == "double":
            number = 1 << 40 | request[0]
            again = b"\x01" + brine.dump((number, request[1]))
            return [payload, again]
        if what == "delay":
            self._held.append(payload)
            return []
        return [payload]


class Peers(RuleBasedStateMachine):
    """What two peers of this package do with objects."""

    tampered = False
    things = Bundle("things")
    own = Bundle("own")

    def __init__(self) -> None:
        super().__init__()
        here, near = MemoryStream.create_pair()
        far, there = MemoryStream.create_pair()
        self.there_service = Lender()
        self.links = [Tampering(near, far), Tampering(far, near)]
        self.there: Connection = self.there_service._connect(Channel(there, compress=False))
        self.serving = threading.Thread(target=self.there.serve_all, daemon=True)
        self.here = rpyc.connect_channel(Channel(here, compress=False))
        if self.tampered:
            for conn in (self.here, self.there):
                conn._features = 0
                conn._greeted = True
        self.serving.start()
        self.root = self.here.root
        self.held: dict[int, Any] = {}
        self.own_things: dict[int, Thing] = {}
        self.lent: set[int] = set()
        self._numbers = 0

    @rule(target=things)
    def make(self) -> int:
        """The other side makes a thing and lends it."""
        number, thing = self.root.make()
        self.held[number] = thing
        return int(number)

    @rule(number=things)
    def use(self, number: int) -> None:
        """A thing that is held works."""
        if number in self.held:
            self.works(lambda: self.held[number].number(), number)

    @rule(number=things, twice=st.booleans())
    def send_again(self, number: int, twice: bool) -> None:
        """A thing comes again, and is the same proxy."""
        if number in self.held:
            ask = self.root.pair if twice else self.root.again
            self.works(lambda: ask(self.held[number]), None, number)

    @rule(number=consumes(things))
    def forget(self, number: int) -> None:
        """This side lets a thing go."""
        self.held.pop(number, None)

    @rule(target=own)
    def lend(self) -> int:
        """This side lends a thing of its own."""
        self._numbers += 1
        number = self._numbers
        thing = self.own_things[number] = Thing(number)
        self.root.keep(number, thing)
        self.lent.add(number)
        return number

    @rule(number=own)
    def asked(self, number: int) -> None:
        """The other side uses what it was lent."""
        if number in self.lent:
            self.works(lambda: self.root.ask(number), number)

    @rule(number=consumes(own))
    def given_back(self, number: int) -> None:
        """The other side lets it go."""
        if number in self.lent:
            self.root.drop(number)
            self.lent.discard(number)

    @rule()
    def collect(self) -> None:
        """Garbage is collected, and what is queued goes out."""
        gc.collect()
        self.here.flush_released()

    def works(self, use: Any, expected: Any, thing: Any = None) -> None:
        """Uses a thing; on a link that tampers it may be gone, which is said."""
        try:
            found = use()
        except (KeyError, AttributeError, TypeError, ReferenceError) as error:
            assert self.tampered, error
            return
        if thing is None:
            assert found == expected
        else:
            for one in found if type(found) is tuple else (found,):
                assert one is self.held[thing] or self.tampered

    @invariant()
    def both_go_on(self) -> None:
        """The connection works, roots stay, and no count is below one."""
        assert not self.here.closed
        assert self.root.make()[0] > 0
        for conn in (self.here, self.there):
            entries = list(conn._local_objects.by_raw.values())
            assert all(entry.count >= 1 or entry.obj is conn._local_root for entry in entries)
        roots = [entry.obj for entry in self.there._local_objects.by_raw.values()]
        assert self.there_service in roots

    def teardown(self) -> None:
        """In the end, on an honest link, each side holds what the model says."""
        try:
            if not self.tampered:
                self.quiet()
                alive = set(self.there_service.made)
                assert alive == set(self.held), (alive, set(self.held))
                exported = self.here._local_objects.by_raw.values()
                lent = {entry.obj.number for entry in exported if type(entry.obj) is Thing}
                assert lent == self.lent
            self.held.clear()
        finally:
            self.here.close()
            self.serving.join(60)
            for link in self.links:
                link.thread.join(60)
            assert not self.serving.is_alive()

    def quiet(self) -> None:
        """Waits until both sides have given back what they do not hold."""
        for _ in range(3):
            gc.collect()
            self.here.ping()
            self.root.again(1)  # what the other side has queued rides along
            self.there.flush_released()
            self.here.ping()


class TamperedPeers(Peers):
    """The same in RPyC's own words, with what gives references back in wrong order and number."""

    tampered = True

    @rule(what=st.lists(st.sampled_from(["drop", "double", "delay", "pass"]), max_size=5))
    def tamper(self, what: list[str]) -> None:
        """The link has plans for the next of them."""
        for link in self.links:
            link.plan.extend(what)


RULES = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHonest = Peers.TestCase
TestHonest.settings = RULES
TestTampered = TamperedPeers.TestCase
TestTampered.settings = RULES
