"""What a peer answers to DIR, HASH, REPR and their like is used by its exact type only."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio
from rpyc_like.core.protocol import Connection

from .served import Served


class Endless:
    """Claims to be whatever is wanted, and is none of it."""

    def __iter__(self) -> Any:
        return itertools.repeat("name")

    def __int__(self) -> int:
        return 1

    __index__ = __int__

    def __bool__(self) -> bool:
        return True


class Word(str):
    """A text of a class of its own: it is sent by reference."""


class Answers(Connection):
    """Answers the requests about objects with what a test has set."""

    answer: Any = None

    def _answered(self, *args: Any) -> Any:
        return self.answer

    _handle_dir = _handle_hash = _handle_repr = _answered
    _handle_instancecheck = _handle_subclasscheck = _answered

    def _handle_str(self, obj: Any) -> Any:
        return str(obj) if type(obj) is Word else self.answer


class Thing:
    pass


class Things(rpyc.Service):
    _protocol = Answers

    def exposed_thing(self) -> Thing:
        return Thing()

    def exposed_cls(self) -> type:
        return Thing


@pytest.fixture
def conn(served: Served) -> Any:
    return served.client(served.server("threads", Things))


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Set what is answered."""
    return lambda value: monkeypatch.setattr(Answers, "answer", value)


USES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "dir": (dir, ("b", "a")),
    "hash": (hash, 5),
    "repr": (repr, "text"),
    "str": (str, "text"),
}
WRONG = [Endless(), [1], None, 1.5, (1, 2), (Endless(),), b"x", {}, Word]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["thing", "cls"])
def test_an_answer_of_another_type_is_refused(
    conn: Any, answer: Callable[[Any], None], name: str, use: str
) -> None:
    """Neither instances nor classes of the peer use what it should not have answered."""
    func, right = USES[use]
    subject = getattr(conn.root, name)()
    if (name, use) == ("cls", "hash"):
        pytest.skip("classes are hashed here")
    for wrong in WRONG:
        answer(wrong)
        with pytest.raises(TypeError):
            func(subject)
    answer(right)
    assert func(subject) == (sorted(right) if use == "dir" else right)


@pytest.mark.parametrize("use", USES)
def test_an_answer_of_another_type_is_refused_by_asyncio(
    served: Served, answer: Callable[[Any], None], use: str
) -> None:
    """The functions of the asyncio side look at the same things."""
    _, right = USES[use]
    server = served.server("threads", Things)

    async def main() -> None:
        async with await aio.connect("127.0.0.1", server.port) as conn:
            subject = await conn.root.thing()
            func = getattr(aio, use)
            for wrong in WRONG:
                answer(wrong)
                with pytest.raises(TypeError):
                    await asyncio.wait_for(func(subject), 60)
            answer(right)
            assert await func(subject) == (list(right) if use == "dir" else right)

    asyncio.run(main())


def test_a_text_of_another_class_is_fetched(conn: Any, answer: Callable[[Any], None]) -> None:
    """A `__repr__` may return a subclass of str, which older peers send by reference."""
    thing, cls = conn.root.thing(), conn.root.cls()
    answer(Word("text"))
    for subject in (thing, cls):
        assert repr(subject) == str(subject) == "text"
        assert type(repr(subject)) is str
