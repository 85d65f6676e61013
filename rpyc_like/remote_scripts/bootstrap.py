"""Unpacks what comes on standard input, runs the server in it, and clears up afterwards.

Input: the size of a zip archive in decimal and a newline, the archive; then nothing until the end,
which is when the server is to stop. Output: a line for each step, then the server's own output.
The archive's ``deployed-rpyc.py`` is run; it ends when its standard input does.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile

OLDEST = (3, 9)
GRACE = 10


def step(name):
    """Says what is done now."""
    sys.stdout.write("rpyc_like-step %s\n" % name)
    sys.stdout.flush()


def read_archive():
    """Returns the archive, whose size comes first."""
    head = b""
    while not head.endswith(b"\n"):
        head += read_some(1)
    size = int(head)
    parts = []
    while size:
        parts.append(read_some(min(size, 65536)))
        size -= len(parts[-1])
    return b"".join(parts)


def read_some(count):
    """Returns some bytes of standard input, without a buffer that would take more."""
    data = os.read(0, count)
    if not data:
        raise EOFError("the archive ends early")
    return data


def run(folder):
    """Runs the server in its folder until the input ends or a signal comes."""
    script = os.path.join(folder, "deployed-rpyc.py")
    server = subprocess.Popen([sys.executable, "-u", script], stdin=subprocess.PIPE, cwd=folder)

    def stop(*_):
        try:
            server.stdin.close()
        except OSError:
            pass
        killer = threading.Timer(GRACE, server.kill)
        killer.daemon = True
        killer.start()

    def watch():
        while os.read(0, 4096):
            pass
        stop()

    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)
    watcher = threading.Thread(target=watch)
    watcher.daemon = True
    watcher.start()
    return server.wait()


def main():
    """Does it all, and leaves nothing behind."""
    if sys.version_info[:2] < OLDEST:
        version = sys.version.split()[0]
        sys.stderr.write("expected Python %d.%d or newer, got %s\n" % (OLDEST + (version,)))
        return 127
    sys.stdout.write("rpyc_like-python %s\n" % sys.executable)
    step("writing the files")
    folder = None
    try:
        data = read_archive()
        folder = tempfile.mkdtemp(prefix="rpyc_like-")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)
        step("starting the server")
        return run(folder)
    except (OSError, EOFError) as error:
        sys.stderr.write("%s: %s\n" % (type(error).__name__, error))
        return 1
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if 0 <= code < 256 else 1)
