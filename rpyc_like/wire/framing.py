"""The three ways a payload is delimited on a byte stream.

* RPyC: 4-byte big-endian length, a compression flag, the payload, a newline;
* EPC (Emacs): six hexadecimal digits, then that many bytes;
* Erlang ports: a big-endian length of 1, 2 or 4 bytes (``{packet, N}``).

A framer is fed whatever arrived, in pieces of any size, and gives back whole payloads. Memory
grows only with the bytes that really came. After an error the framer is dead: ``error`` holds the
reason, and payloads completed before it are still delivered.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any, ClassVar, Final, Protocol

from ..errors import LimitExceeded, LocalProtocolError, MalformedFrame, ProtocolError
from ..lib.interrupts import raised_by_handler
from ..lib.joining import join

__all__ = [
    "MAX_FIRST_FRAME_SIZE",
    "MAX_FRAME_SIZE",
    "MAX_INFLATED_SIZE",
    "Deflated",
    "EpcFramer",
    "ErlangFramer",
    "Framer",
    "RpycFramer",
]

MAX_FRAME_SIZE = 1 << 30
"""Default limit of one frame's payload on the wire, in bytes."""

MAX_FIRST_FRAME_SIZE = 1 << 20
"""Default limit of the first frame of a peer that has not shown yet that it speaks RPyC."""

MAX_INFLATED_SIZE = 64 << 20
"""Default limit of an inflated payload, in bytes."""


class Framer(Protocol):
    """Payloads to frames and back, for one direction pair of one connection."""

    error: ProtocolError | None

    def encode(self, payload: Any) -> Any:
        """Returns the whole frame for ``payload``: bytes, or a list of parts for such a list."""

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes as they arrived and returns the payloads they complete."""

    def forget(self) -> None:
        """Forgets what has been fed since the last whole frame."""

    def missing(self) -> int:
        """Returns how many bytes at least are needed to complete something (never 0)."""

    @property
    def idle(self) -> bool:
        """Whether no frame has been started: the stream may end here."""


class _LengthFramer:
    """What the three framers share: a buffer, and a header that says the length."""

    _header_size: ClassVar[int] = 0
    _trailer_size: ClassVar[int] = 0

    def __init__(self, max_frame_size: int = MAX_FRAME_SIZE) -> None:
        self.max_frame_size = max_frame_size
        self.error: ProtocolError | None = None
        self._buffer = bytearray()

    @property
    def idle(self) -> bool:
        return not self._buffer

    def forget(self) -> None:
        self._buffer.clear()
        self.error = None

    def missing(self) -> int:
        have = len(self._buffer)
        if have < self._header_size:
            return self._header_size - have
        try:
            body = self._length(self._buffer, 0)
        except ProtocolError:
            return 1
        return max(1, self._header_size + body + self._trailer_size - have)

    def feed(self, data: bytes) -> list[bytes]:
        payloads: list[bytes] = []
        if self.error is not None:
            return payloads
        if self._buffer:
            self._buffer += data
            source: bytes | bytearray = self._buffer
        else:
            source = data
        position = 0
        try:
            position = self._split(source, payloads)
        except ProtocolError as error:
            if raised_by_handler(error):
                raise
            self.error = self._described(error, source)
            position = max(0, len(source) - 1)  # not idle: this is no place to end
        if source is self._buffer:
            del self._buffer[:position]
        elif position < len(source):
            self._buffer += source[position:]
        return payloads

    def _described(self, error: ProtocolError, source: bytes | bytearray) -> ProtocolError:
        """Return ``error``, with more about where it was found if that helps."""
        return error

    def _split(self, source: bytes | bytearray, payloads: list[bytes]) -> int:
        position, end = 0, len(source)
        header, trailer = self._header_size, self._trailer_size
        while end - position >= header:
            length = self._length(source, position)
            start = position + header
            stop = start + length
            if stop + trailer > end:
                break
            payloads.append(self._payload(source, position, start, stop))
            position = stop + trailer
        return position

    def _length(self, source: bytes | bytearray, position: int) -> int:
        raise NotImplementedError

    def _payload(self, source: bytes | bytearray, position: int, start: int, stop: int) -> bytes:
        return _slice(source, start, stop)

    def _check_length(self, length: int) -> int:
        if length > self.max_frame_size:
            raise LimitExceeded(
                "frame size in bytes", length, self.max_frame_size, "max_frame_size"
            )
        return length


def _slice(source: bytes | bytearray, start: int, stop: int) -> bytes:
    if type(source) is bytes:
        return source[start:stop]
    with memoryview(source) as view:
        return bytes(view[start:stop])


_HEADER = struct.Struct("!LB")
_SHOWN: Final = 80  # bytes of a beginning that is no frame


class Deflated(bytes):
    """A payload that has not been inflated."""


class RpycFramer(_LengthFramer):
    """RPyC's frames: ``!LB`` header (length on the wire, compressed flag), payload, newline.

    Args:
        compress: whether to deflate payloads above ``COMPRESSION_THRESHOLD`` when sending.
        max_frame_size: largest payload on the wire to accept, in bytes.
        max_inflated_size: largest inflated payload to accept, in bytes.
        max_first_frame_size: the same as ``max_frame_size`` for the first frame of a stream.
    """

    COMPRESSION_THRESHOLD: ClassVar[int] = 3000
    COMPRESSION_LEVEL: ClassVar[int] = 1
    FRAME_HEADER: ClassVar[struct.Struct] = _HEADER
    FLUSHER: ClassVar[bytes] = b"\n"
    _header_size = 5
    _trailer_size = 1

    def __init__(
        self,
        compress: bool = True,
        max_frame_size: int = MAX_FRAME_SIZE,
        max_inflated_size: int = MAX_INFLATED_SIZE,
        max_first_frame_size: int = MAX_FIRST_FRAME_SIZE,
    ) -> None:
        super().__init__(max_frame_size)
        self.max_first_frame_size = max_first_frame_size
        self.compress = compress
        self.max_inflated_size = max_inflated_size
        self.inflates = True
        """Whether payloads are inflated at once; otherwise they are :class:`Deflated`."""
        self._in_use = False

    def encode(self, payload: bytes | list[bytes]) -> Any:
        if type(payload) is list:
            return self.encode_parts(payload)
        assert type(payload) is bytes
        size = len(payload)
        if size <= self.COMPRESSION_THRESHOLD:
            return _HEADER.pack(size, 0) + payload + b"\n"
        flag = 0
        # A receiver with our limits would refuse what inflates too much.
        if self.compress and size <= MAX_INFLATED_SIZE and _pays(payload):
            packed = zlib.compress(payload, self.COMPRESSION_LEVEL)
            if len(packed) < size:
                flag, payload, size = 1, packed, len(packed)
        if size > 0xFFFFFFFF:
            raise LocalProtocolError(f"frame of {size} bytes, the RPyC wire carries 4294967295")
        return _HEADER.pack(size, flag) + payload + b"\n"

    def encode_parts(self, parts: list[bytes]) -> list[bytes]:
        """Returns the whole frame for a payload in parts; large ones are not copied."""
        size = sum(map(len, parts))
        if size <= self.COMPRESSION_THRESHOLD or (
            self.compress and size <= MAX_INFLATED_SIZE and _pays(max(parts, key=len))
        ):
            return [self.encode(join(parts))]
        if size > 0xFFFFFFFF:
            raise LocalProtocolError(f"frame of {size} bytes, the RPyC wire carries 4294967295")
        return [_HEADER.pack(size, 0), *parts, b"\n"]

    def take_partial(self, arrived: int) -> bytes:
        """Gives up the beginning of a small frame that so many bytes complete.

        Returns:
            It, for who puts what has arrived behind it; empty if there is none.
        """
        if len(self._buffer) > _SMALL or self.missing() > arrived:
            return b""
        start = bytes(self._buffer)
        self._buffer.clear()
        return start

    def take_started(self) -> tuple[int, bytes] | None:
        """Gives up a large frame that has been started, for who receives the rest of it.

        Returns:
            The size of the payload, and its beginning; None if there is none, or if its payload
            has to be made of something else.
        """
        buffer = self._buffer
        if len(buffer) < self._header_size or buffer[4] or self.error is not None:
            return None
        size = self._length(buffer, 0)
        start = bytes(buffer[self._header_size :])
        if len(start) > size:
            return None
        buffer.clear()
        self._in_use = True
        return size, start

    def forget(self) -> None:
        super().forget()
        self.inflates = True

    def feed(self, data: bytes) -> list[bytes]:
        if not self._buffer and len(data) > 6 and self.error is None:
            # By far the most usual arrival: exactly one whole, plain frame.
            length, flag = _HEADER.unpack_from(data)
            if (
                length == len(data) - 6
                and not flag
                and length <= self.max_frame_size
                and data[-1] == 0x0A
                and self._in_use
            ):
                return [data[5:-1]]
        return super().feed(data)

    def _length(self, source: bytes | bytearray, position: int) -> int:
        length, flag = _HEADER.unpack_from(source, position)
        if flag > 1 or not 0 < length <= self.max_frame_size:
            self._refuse(length, flag)
        if not self._in_use:
            if length >> 16 == 0x1603 or length > self.max_first_frame_size:
                self._refuse(length, flag)
        return int(length)

    def _described(self, error: ProtocolError, source: bytes | bytearray) -> ProtocolError:
        """Show how the peer began, if no frame has come: a text may say what it speaks."""
        if self._in_use or type(error) is not MalformedFrame:
            return error
        return MalformedFrame(f"{error}; the peer began with {bytes(source[:_SHOWN])!r}")

    def _refuse(self, length: int, flag: int) -> None:
        header = self.FRAME_HEADER.pack(length, flag)
        hint = _foreign_protocol(header)
        if hint:
            raise MalformedFrame(f"expected an RPyC frame, got {header!r}: this looks like {hint}")
        if length == 0:
            raise MalformedFrame("expected a frame with a payload, got length 0")
        if flag > 1:
            raise MalformedFrame(f"expected compression flag 0 or 1, got {flag}")
        if not self._in_use and self.max_first_frame_size < self.max_frame_size:
            limit, key = self.max_first_frame_size, "max_first_frame_size"
            raise LimitExceeded("size of the first frame in bytes", length, limit, key)
        self._check_length(length)

    def _payload(self, source: bytes | bytearray, position: int, start: int, stop: int) -> bytes:
        if source[stop] != 0x0A:
            trailer = bytes(source[stop : stop + 1])
            raise MalformedFrame(f"expected a newline after the payload, got {trailer!r}")
        payload = _slice(source, start, stop)
        self._in_use = True
        if not source[position + 4]:
            return payload
        return self.inflate(payload) if self.inflates else Deflated(payload)

    def inflate(self, packed: bytes) -> bytes:
        """Return the payload of a compressed frame.

        Memory grows with what comes out, and never beyond ``max_inflated_size``.

        Raises:
            LimitExceeded: there is more in it.
            MalformedFrame: it is not exactly one zlib stream, or an empty one.
        """
        limit = self.max_inflated_size
        inflater = zlib.decompressobj()
        try:
            payload = inflater.decompress(packed, min(limit + 1, _PIECE))
            if not inflater.eof and len(payload) == _PIECE:
                payload = _inflate_rest(inflater, payload, limit)
        except zlib.error as error:
            raise MalformedFrame(f"expected zlib data in a compressed frame: {error}") from error
        if len(payload) > limit:
            raise LimitExceeded(
                "inflated frame size in bytes", len(payload), limit, "max_inflated_size"
            )
        if not inflater.eof or inflater.unused_data:
            raise MalformedFrame("expected one whole zlib stream in a compressed frame")
        if not payload:
            raise MalformedFrame("expected a frame with a payload, got 0 inflated bytes")
        return payload


_PIECE: Final = 1 << 18


def _inflate_rest(inflater: Any, first: bytes, limit: int) -> bytes:
    """Returns all that an inflater gives, ``limit`` + 1 bytes at most, without joining pieces."""
    memory = io.BytesIO()  # which grows in place, and hands its memory over as bytes
    size = memory.write(first)
    with memoryview(inflater.unconsumed_tail) as tail:
        position = 0
        waiting: Any = b""
        while size <= limit and not inflater.eof:
            if not waiting:  # in pieces, because each call copies what it has not used
                waiting = tail[position : position + _PIECE]
                position += _PIECE
            piece = inflater.decompress(waiting, min(limit + 1 - size, _PIECE))
            waiting = inflater.unconsumed_tail
            size += memory.write(piece)
            if not piece and not waiting and position >= len(tail):
                break  # it ends early
        if inflater.eof and position < len(tail):
            inflater.decompress(tail[position:])  # which makes that unused data
    return memory.getvalue()


_SMALL: Final = 1 << 16
_GLANCE: Final = 256
_DIVERSE: Final = 140  # of 256 random bytes about 162 are different, give or take 5
_SAMPLE: Final = 4096
_WORTHWHILE: Final = 0.9


def _pays(payload: bytes) -> bool:
    """Returns whether deflating a payload makes it smaller, to judge by glances and samples.

    Where a few bytes are as diverse as random ones there is nothing to gain.
    """
    size = len(payload)
    places = (size // 4, size // 2, size - 2 * _GLANCE)
    if all(len(set(payload[place : place + _GLANCE])) > _DIVERSE for place in places):
        return False
    if size < 16 * _SAMPLE:
        return True
    sample = b"".join(
        [payload[start : start + _SAMPLE] for start in (_SAMPLE, size // 2, size - 2 * _SAMPLE)]
    )
    return len(zlib.compress(sample, 1)) < _WORTHWHILE * len(sample)


def _foreign_protocol(start: bytes) -> str | None:
    if start[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"DELE", b"HTTP"):
        return "HTTP"
    if start[0] == 0x16 and start[1] == 3:
        return "TLS"
    if start[:4] == b"SSH-":
        return "SSH"
    if start[:5] == b"rpyc_":
        return "a server that wants a login (login=)"
    if all(byte in b"0123456789abcdefABCDEF" for byte in start):
        return "EPC (Emacs)"
    return None


_HEXADECIMAL: Final = re.compile(rb"[0-9a-fA-F]{6}").fullmatch


class EpcFramer(_LengthFramer):
    """EPC's frames: six hexadecimal digits, then that many bytes (16,777,215 at most)."""

    MAX_SIZE: ClassVar[int] = 0xFFFFFF
    _header_size = 6

    def encode(self, payload: bytes) -> bytes:
        if len(payload) > self.MAX_SIZE:
            raise LocalProtocolError(f"frame of {len(payload)} bytes, EPC carries {self.MAX_SIZE}")
        return b"%06x" % len(payload) + payload

    def feed(self, data: bytes) -> list[bytes]:
        if not self._buffer and self.error is None and _HEXADECIMAL(data[:6]):
            # Most arrivals are exactly one frame.
            if int(data[:6], 16) == len(data) - 6 <= self.max_frame_size:
                return [data[6:]]
        return super().feed(data)

    def _length(self, source: bytes | bytearray, position: int) -> int:
        digits = bytes(source[position : position + 6])
        if not _HEXADECIMAL(digits):  # int() would take more
            raise MalformedFrame(f"expected six hexadecimal digits, got {digits!r}")
        return self._check_length(int(digits, 16))


class ErlangFramer(_LengthFramer):
    """Erlang's ``{packet, N}`` frames: a big-endian length of N bytes, then the payload.

    Args:
        packet: size of the length field in bytes: 1, 2 or 4.
        max_frame_size: largest payload to accept, in bytes.
    """

    def __init__(self, packet: int = 4, max_frame_size: int = MAX_FRAME_SIZE) -> None:
        if packet not in (1, 2, 4):
            raise ValueError(f"invalid packet size value: {packet!r}, expected 1, 2 or 4")
        super().__init__(max_frame_size)
        self.packet = packet
        self._largest = (1 << (8 * packet)) - 1
        self._in_use = packet != 4  # whether it is known that this is no other protocol
        self._header_size = packet  # type: ignore[misc]

    def encode(self, payload: bytes) -> bytes:
        size = len(payload)
        if size > self._largest:
            limit = self._largest
            raise LocalProtocolError(f"frame of {size} bytes, packet {self.packet} carries {limit}")
        return size.to_bytes(self.packet, "big") + payload

    def _split(self, source: bytes | bytearray, payloads: list[bytes]) -> int:
        position, end = 0, len(source)
        packet, limit = self.packet, self.max_frame_size
        while end - position >= packet:
            start = position + packet
            length = int.from_bytes(source[position:start], "big")
            if length > limit or not self._in_use:
                self._check_first(source[position:start])
                self._check_length(length)
            stop = start + length
            if stop > end:
                break
            payload = source[start:stop]
            payloads.append(payload if type(payload) is bytes else bytes(payload))
            position = stop
            self._in_use = True
        return position

    def _check_first(self, header: bytes | bytearray) -> None:
        hint = None if self._in_use else _foreign_protocol(bytes(header))
        if hint:
            raise MalformedFrame(
                f"expected a length, got {bytes(header)!r}: this looks like {hint}"
            )

    def _length(self, source: bytes | bytearray, position: int) -> int:
        return self._check_length(int.from_bytes(source[position : position + self.packet], "big"))
