"""Echoes frames of a port with buffered reads and joined writes, and nothing else: the floor."""

import os

buffer = b""
while True:
    data = os.read(0, 1 << 16)
    if not data:
        break
    buffer += data
    frames, position, size = [], 0, len(buffer)
    while size - position >= 4:
        end = position + 4 + int.from_bytes(buffer[position : position + 4], "big")
        if end > size:
            break
        frames.append(buffer[position:end])
        position = end
    buffer = buffer[position:]
    answer = b"".join(frames)
    while answer:
        answer = answer[os.write(1, answer) :]
