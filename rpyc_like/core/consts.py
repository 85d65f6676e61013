"""Numbers of the RPyC wire."""

from __future__ import annotations

from typing import Final

MSG_REQUEST: Final = 1
MSG_REPLY: Final = 2
MSG_EXCEPTION: Final = 3

LABEL_VALUE: Final = 1
LABEL_TUPLE: Final = 2
LABEL_LOCAL_REF: Final = 3
LABEL_REMOTE_REF: Final = 4
LABEL_DESCRIBED: Final = 5
"""Extension: a pair of what LABEL_REMOTE_REF has and what INSPECT would say."""

HANDLE_PING: Final = 1
HANDLE_CLOSE: Final = 2
HANDLE_GETROOT: Final = 3
HANDLE_GETATTR: Final = 4
HANDLE_DELATTR: Final = 5
HANDLE_SETATTR: Final = 6
HANDLE_CALL: Final = 7
HANDLE_CALLATTR: Final = 8
HANDLE_REPR: Final = 9
HANDLE_STR: Final = 10
HANDLE_CMP: Final = 11
HANDLE_HASH: Final = 12
HANDLE_DIR: Final = 13
HANDLE_PICKLE: Final = 14
HANDLE_DEL: Final = 15
HANDLE_INSPECT: Final = 16
HANDLE_BUFFITER: Final = 17
HANDLE_OLDSLICING: Final = 18
HANDLE_CTXEXIT: Final = 19
HANDLE_INSTANCECHECK: Final = 20

HANDLE_HELLO: Final = 100
"""Extension: the caller's features as a bit mask; a peer that lacks it fails one request."""

HANDLE_RELEASE: Final = 101
"""Extension: a batch of ``(id_pack, count)`` that is never answered; needs FEATURE_RELEASE."""

HANDLE_SUBCLASSCHECK: Final = 102
"""Extension: ``(class, class)``, whether the first is a subclass of the second."""

HANDLE_CHAIN: Final = 103
"""Extension: steps that depend on one another, in one request; see core.chains."""

HANDLE_ITERATE: Final = 104
"""Extension: begins to iterate over a container; see core.iteration."""

HANDLE_CHUNK: Final = 105
"""Extension: the next items of a container."""

HANDLE_REWIND: Final = 106
"""Extension: how many items of the last chunk were used; never answered."""

HANDLE_SNAPSHOT: Final = 107
"""Extension: a copy of data by value; see core.snapshots.dump."""

HANDLE_PICKLE_PARTS: Final = 108
"""Extension: the pickle of an object, and its large buffers beside it."""

HANDLE_CANCEL: Final = 109
"""Extension: nobody waits for the answer to a request any more; never answered."""

HANDLE_DEADLINE: Final = 110
"""Extension: in how many milliseconds the answer to the request that follows is wanted; never
answered."""

HANDLE_HEARTBEAT: Final = 111
"""Extension: the sender is there, and wants to be told the same every so many milliseconds; never
answered."""

FEATURE_CAUSE: Final = 1
"""Requests carry the number of the request that caused them as a third item."""

FEATURE_RELEASE: Final = 2
"""HANDLE_RELEASE is understood."""

FEATURE_CLASS_IDS: Final = 4
"""Class ids are never reused and change with the class's shape: they may key a cache."""

FEATURE_TYPES: Final = 8
"""INSPECT tells the bases of a class, exceptions travel with their bases, causes and notes,
CTXEXIT is given an exception by value, texts may hold lone surrogates, HANDLE_SUBCLASSCHECK is
understood."""

FEATURE_DESCRIPTIONS: Final = 16
"""The first reference to an object of a class may be LABEL_DESCRIBED; INSPECT tells functions."""

FEATURE_PUBLIC: Final = 32
"""Not an extension but a statement: the peer may read public names of any object."""

FEATURE_CHAINS: Final = 64
"""HANDLE_CHAIN is understood."""

FEATURE_CHUNKS: Final = 128
"""HANDLE_ITERATE, HANDLE_CHUNK and HANDLE_REWIND are understood."""

FEATURE_SNAPSHOTS: Final = 256
"""HANDLE_SNAPSHOT and HANDLE_PICKLE_PARTS are understood."""

FEATURE_CALLS: Final = 512
"""HANDLE_CANCEL and HANDLE_DEADLINE are understood."""

FEATURE_HEARTBEAT: Final = 1024
"""HANDLE_HEARTBEAT is understood."""

FEATURE_BITS: Final = 32
"""Not an extension but a place: what is above these bits is the number of milliseconds after which
this side wants signs of life."""

EXC_STOP_ITERATION: Final = 1
STREAM_CHUNK: Final = 64000
