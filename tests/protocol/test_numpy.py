"""Arrays of NumPy on the other side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import rpyc_like as rpyc
from rpyc_like import aio

np = pytest.importorskip("numpy")


@pytest.fixture
def remote(pair: Any) -> Any:
    client, _ = pair(rpyc.ClassicService, rpyc.core.service.ClassicClient)
    return client.modules.numpy


def test_operators_and_attributes(remote: Any) -> None:
    """Operators, slices, attributes and functions work there."""
    array = remote.arange(6).reshape(2, 3)
    assert tuple(array.shape) == (2, 3)
    assert (array + 1).sum() == 21
    assert (array @ array.T)[0, 0] == 5
    assert (2 * array)[1, 2] == 10
    assert array[:, 1].tolist() == [1, 4]
    assert bool((array == array).all())
    assert len(array) == 2
    assert isinstance(array, remote.ndarray)
    assert repr(array) == repr(np.arange(6).reshape(2, 3))
    array[0, 0] = 7
    assert array.max() == 7


@pytest.mark.parametrize("kind", ["i4", ">f8", "?", "c16", "U3", "M8[s]", "S2"])
def test_conversion_without_pickle(remote: Any, kind: str) -> None:
    """A local array is made of shape, type and bytes; nothing of the peer's is unpickled."""
    there = remote.zeros((2, 2), kind)
    here = np.asarray(there)
    assert type(here) is np.ndarray
    assert here.dtype == np.dtype(kind)
    assert (here == np.zeros((2, 2), kind)).all()
    assert np.array(remote.arange(3), dtype=float).tolist() == [0.0, 1.0, 2.0]


def test_objects_are_refused(remote: Any) -> None:
    """An array of objects has no plain bytes."""
    with pytest.raises(ValueError, match="expected an array of numbers"):
        np.asarray(remote.array([None, 1]))


class Measured(np.ndarray):  # type: ignore[type-arg]
    """An array of a class of the program's."""


class Arrays(rpyc.Service):
    """Gives arrays of each kind."""

    def exposed_make(self) -> Any:
        return np.arange(3)

    def exposed_single(self) -> Any:
        return np.arange(6, dtype="f4").reshape(2, 3)

    def exposed_scalar(self) -> Any:
        return np.float32(2.5)

    def exposed_measured(self) -> Any:
        return np.arange(3, dtype="i2").view(Measured)

    def exposed_objects(self) -> Any:
        return np.array([None, 1])


def test_the_policy_holds(pair: Any) -> None:
    """A service that shows no public attributes gives a copy, and no attributes."""
    client, _ = pair(Arrays)
    array = client.root.make()
    assert np.asarray(array).tolist() == [0, 1, 2]
    with pytest.raises(AttributeError):
        array.tobytes()


@pytest.mark.parametrize("config", [{}, {"allow_public_attrs": True}], ids=["", "public"])
@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("make", np.arange(3).dtype, (3,)),
        ("single", "f4", (2, 3)),
        ("scalar", "f4", ()),
    ],
)
def test_a_restricted_service_gives_the_right_type(
    pair: Any, name: str, dtype: Any, shape: Any, config: Any
) -> None:
    """NumPy makes an array of the same type, also of several of them, and none of objects."""
    client, server = pair(Arrays)
    server._config.update(config)
    remote = getattr(client.root, name)()
    assert np.array(remote).dtype == np.dtype(dtype)
    assert np.array(remote).shape == shape
    assert np.array([remote, remote]).dtype == np.dtype(dtype)
    assert np.array(remote, dtype=complex).dtype == np.dtype(complex)
    assert np.add(np.zeros(3, dtype), remote).dtype == np.dtype(dtype)


def test_no_array_is_made_of_what_is_refused(pair: Any) -> None:
    """Where there is no snapshot either, the error says what the owner may change."""
    client, _ = pair(Arrays)
    array = client.root.make()
    client._codec.features = 0  # as of a peer of RPyC's
    with pytest.raises(AttributeError, match="'__array__' in the configuration key 'safe_attrs'"):
        np.asarray(array)


@pytest.mark.parametrize("name", ["objects", "measured"])
def test_a_restricted_service_gives_no_objects(pair: Any, name: str) -> None:
    """What is no data, or of a class of the owner's, is an error and no array of proxies."""
    client, _ = pair(Arrays)
    array = getattr(client.root, name)()
    with pytest.raises(AttributeError, match="cannot make a local array"):
        np.asarray(array)


async def loop_asarray(port: int) -> None:
    async with await aio.connect("127.0.0.1", port) as conn:
        array = await conn.root.make()
        with pytest.raises(TypeError, match="snapshot"):
            np.asarray(array)
        assert (await aio.snapshot(array)).tolist() == [0, 1, 2]


def test_on_an_event_loop() -> None:
    """A proxy that has to be awaited says so, instead of being an object in an array."""
    server = rpyc.ThreadedServer(Arrays, port=0)
    server._start_in_thread()
    try:
        asyncio.run(loop_asarray(server.port))
    finally:
        server.close()
