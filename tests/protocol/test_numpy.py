"""Arrays of NumPy on the other side."""

from __future__ import annotations

from typing import Any

import pytest

import rpyc_like as rpyc

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


def test_the_policy_holds(pair: Any) -> None:
    """A service that shows no public attributes gives items, as of any sequence, and no more."""

    class Arrays(rpyc.Service):
        def exposed_make(self) -> Any:
            return np.arange(3)

    client, _ = pair(Arrays)
    array = client.root.make()
    assert np.asarray(array).tolist() == [0, 1, 2]
    with pytest.raises(AttributeError):
        array.tobytes()
