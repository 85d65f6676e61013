"""``python -m tests.bench erlang``: codec, ports and calls, beside others in the same run.

Other codecs are measured where they are installed: ``--install`` puts erlang_py, erlastic and
erlpack into ``.peers``. The figures of erlport 0.6 and 0.11 for the codec were recorded on another
day (they do not run under this Python). ``--python2 PYTHON --erlport FOLDER`` measures the port of
erlport 0.6 under a Python 2 in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rpyc_like.erlport import erlterms
from rpyc_like.erlport.erlterms import Atom
from tests.support.erlang import VMS, compiled, erl, frames
from tests.support.etf import corpus
from tests.support.peers import OURS, ROOT, environment, peers_folder

HERE = Path(__file__).resolve().parent / "erlang"
PRIV = ROOT / "rpyc_like" / "erlport" / "priv"
CODECS = ("erlang_py==2.0.7", "erlastic==2.0.0", "erlpack==1.0.1")

_random = random.Random(1)
TERMS: dict[str, Any] = {
    "{echo,1}": (Atom("echo"), 1),
    "call tuple": (Atom("C"), 17, Atom("os"), Atom("path.join"), [b"a", b"b", 1]),
    "1000 ints": [_random.randrange(-(2**31), 2**31) for _ in range(1000)],
    "1000 floats": [_random.random() for _ in range(1000)],
    "1000 {atom,int,binary}": [
        (Atom("key"), number, b"value%d" % number) for number in range(1000)
    ],
    "STRING 60000": [_random.randrange(256) for _ in range(60_000)],
    "100 x 800-bit bigs": [_random.getrandbits(800) for _ in range(100)],
}
RECORDED = {
    "{echo,1}": ((317, 227), (263, 687)),
    "call tuple": ((136, 135), (97, 338)),
    "1000 ints": ((4.7, 3.7), (5.3, 14)),
    "1000 floats": ((8.1, 5.9), (7.9, 20)),
    "1000 {atom,int,binary}": ((3.2, 6.2), (4.2, 18)),
    "STRING 60000": ((31, 8.6), (3.2, 88)),
    "100 x 800-bit bigs": ((6.9, 2.9), (10, 10)),
}
"""Decode and encode of erlport 0.6 and 0.11: thousands in a second for the first two, then MB/s."""


def seconds(func: Callable[[Any], Any], value: Any) -> float:
    """Returns the seconds of one call: the fastest of some runs."""
    func(value)
    count, spent = 1, 0.0
    while spent < 0.02:
        count *= 2
        spent = _timed(func, value, count)
    return min(_timed(func, value, count) for _ in range(5)) / count


def _timed(func: Callable[[Any], Any], value: Any, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        func(value)
    return time.perf_counter() - start


def others() -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """Returns decode and encode of other codecs that are installed."""
    sys.path.append(str(peers_folder() / "erlang-codecs"))
    found: dict[str, Any] = {}
    with contextlib.suppress(ImportError):
        module = importlib.import_module("erlang")
        found["erlang_py"] = module.binary_to_term, module.term_to_binary
    with contextlib.suppress(ImportError):
        module = importlib.import_module("erlastic")
        found["erlastic"] = module.decode, module.encode
    with contextlib.suppress(ImportError):
        module = importlib.import_module("erlpack")
        found["erlpack"] = module.unpack, module.pack
    return found


def codecs() -> None:
    """Prints the codec's rows."""
    rest = others()
    names = ["ours", "0.6 (rec.)", "0.11 (rec.)", *rest]
    print(f"{'decode / encode':<24}" + "".join(f"{name:>18}" for name in names))
    for row, (name, value) in enumerate(TERMS.items()):
        data = erlterms.encode(value)
        cells = [_cell(row, data, value, erlterms.decode, erlterms.encode)]
        cells += [f"{decode:g} / {encode:g}" for decode, encode in RECORDED[name]]
        for decode, encode in rest.values():
            try:
                cells.append(_cell(row, data, decode(data), decode, encode))
            except Exception as error:
                cells.append(type(error).__name__)
        print(f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells))
    print("thousands in a second in the first two rows, MB/s of encoded bytes in the others")
    print("\nlists of so many integers, decode / encode in MB/s:")
    for size in (5_000, 10_000, 40_000, 200_000, 1_000_000):
        value = list(range(size))
        data = erlterms.encode(value)
        print(f"{size:>10,}  {_cell(2, data, value, erlterms.decode, erlterms.encode)}")


def _cell(row: int, data: bytes, value: Any, decode: Any, encode: Any) -> str:
    decoding, encoding = seconds(decode, data), seconds(encode, value)
    scale = 1e-3 if row < 2 else len(data) / 1e6
    return (
        f"{scale / decoding:.{0 if row < 2 else 1}f} / {scale / encoding:.{0 if row < 2 else 1}f}"
    )


def judged(beams: Path) -> None:
    """Prints what Erlang says of the corpus."""
    pairs = []
    for entry in corpus():
        value, rest = erlterms.decode(entry.data)
        assert not rest
        pairs += [entry.data, erlterms.encode(value)]
    file = beams / "pairs"
    file.write_bytes(frames(pairs))
    print("\ncorpus: decoded and encoded again, and judged by Erlang")
    for vm in VMS:
        count, different = _erlang(vm, beams, "judge", "same", file).split(maxsplit=1)
        print(f"  OTP {vm}: {count} judged, not equal: {different.strip()}")


def _erlang(vm: str, beams: Path, module: str, *arguments: object) -> str:
    command = [erl(vm), "-noshell", "-noinput", "-pa", str(beams), "-run", module, "main"]
    env = {**environment(OURS), "HOME": str(beams), "ERL_CRASH_DUMP": "/dev/null"}
    return subprocess.run(
        [*command, *map(str, arguments)], env=env, check=True, capture_output=True, text=True
    ).stdout


def ports(beams: Path, rounds: int, python2: str | None, erlport: str | None) -> None:
    """Prints how long an echo takes, from a real VM."""
    contestants = {
        "bare": [sys.executable, HERE / "bare.py"],
        "ours": [sys.executable, HERE / "ours.py"],
    }
    if python2 and erlport:
        script = beams / "theirs.py"
        path = f"import sys; sys.path.insert(0, {erlport!r})\n"
        script.write_text(path + (HERE / "theirs.py").read_text())
        contestants["erlport 0.6"] = [python2, script]
    print(f"\n{'port echo, microseconds':<34}" + "".join(f"{name:>14}" for name in contestants))
    for shape, count in (("small", 3000), ("large", 60)):
        if shape == "large":
            contestants.pop("erlport 0.6", None)  # it hangs when frames arrive in pieces
        times: dict[str, list[tuple[float, ...]]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, command in contestants.items():
                out = _erlang("25", beams, "echo", "use_stdio", 4, count, shape, *command)
                times[name].append(tuple(map(float, out.split())))
        for column, title in enumerate(("one at a time", "pipelined, each")):
            medians = [
                statistics.median(one[column] for one in times[name]) for name in contestants
            ]
            cells = "".join(f"{median:>14.1f}" for median in medians)
            ratio = medians[1] / medians[0]
            extra = f"   ours/bare {ratio:.2f}"
            if len(medians) > 2:
                extra += f", erlport/ours {medians[2] / medians[1]:.2f}"
            what = "{echo,1}" if shape == "small" else "{echo, 1 MiB}"
            print(f"{what + ', ' + title:<34}{cells}{extra}")
    print("recorded for erlport 0.6: 111-167 one at a time, 11.5-28.6 pipelined")


def calls(beams: Path, rounds: int) -> None:
    """Prints calls in a second through the package's own Erlang module."""
    found = [
        tuple(map(int, _erlang("25", beams, "calls", sys.executable, HERE, 3000).split()))
        for _ in range(rounds)
    ]
    medians = [int(statistics.median(column)) for column in zip(*found, strict=True)]
    print("\ncalls in a second: of Python one at a time, from 30 processes; of Erlang from Python")
    print("  ours {:,}, {:,}; {:,}".format(*medians))
    print("  recorded for erlport 0.11: 7,500-10,000, 23,000-31,000; 8,000-13,000")


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--install", action="store_true", help="install other codecs first")
    parser.add_argument("--python2", help="a Python 2 for erlport 0.6")
    parser.add_argument("--erlport", help="the folder with erlport 0.6's package")
    options = parser.parse_args(arguments)
    if options.install:
        folder = str(peers_folder() / "erlang-codecs")
        for requirement in CODECS:
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", folder]
            subprocess.run([*command, "cython", requirement], check=False)
    codecs()
    with tempfile.TemporaryDirectory() as folder:
        judge = ROOT / "tests" / "interop" / "erlang" / "judge.erl"
        sources = [HERE / "echo.erl", HERE / "calls.erl", judge, PRIV / "rpyc_like.erl"]
        beams = compiled(Path(folder), *sources)
        judged(beams)
        ports(beams, options.rounds, options.python2, options.erlport)
        calls(beams, options.rounds)
