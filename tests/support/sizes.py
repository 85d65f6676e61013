"""``python -m tests.support.sizes``: lines, files and functions of each layer, and the longest."""

from __future__ import annotations

import ast

from tests.unit.test_layers import layer, modules

NAMES = ["0 helpers", "1 pure", "2 movement", "3 protocols", "4 use", "5 doors"]


def main() -> None:
    """Prints the table."""
    head = (
        f"{'layer':<14}{'files':>6}{'lines':>7}{'code':>7}{'functions':>11}  longest file, function"
    )
    print(head)
    totals = [0, 0, 0, 0]
    for number, title in enumerate(NAMES):
        files: list[tuple[int, str]] = []
        functions: list[tuple[int, str]] = []
        lines = 0
        for name, path in modules().items():
            if layer(name) != number:
                continue
            text = path.read_text()
            code = [line for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
            lines += len(text.splitlines())
            files.append((len(code), name))
            functions += [
                (node.end_lineno - node.lineno + 1, f"{name}.{node.name}")
                for node in ast.walk(ast.parse(text))
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno
            ]
        row = [len(files), lines, sum(size for size, _ in files), len(functions)]
        totals = [a + b for a, b in zip(totals, row)]
        longest = f"{max(files)[1]} {max(files)[0]}, {max(functions)[1]} {max(functions)[0]}"
        print(f"{title:<14}{row[0]:>6}{row[1]:>7}{row[2]:>7}{row[3]:>11}  {longest}")
    print(f"{'all':<14}{totals[0]:>6}{totals[1]:>7}{totals[2]:>7}{totals[3]:>11}")
    own, shared = share()
    print(f"for asyncio alone: {own} lines; for asyncio and blocking programs: {shared}")


def share() -> tuple[int, int]:
    """Returns the lines only for asyncio, and those that it shares with the blocking side."""
    own = (
        *("link.aio", "link.aio_plain_peer", "lib.run_in_pool"),
        *("lib.connection_threads", "lib.contexts", "lib.finalizers"),
    )
    blocking = ("core.protocol", "core.dispatch.coroutines", "link.threaded", "link.fast_path")
    both = ("core.", "link.", "wire.", "lib.", "utils.")
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    alone = sum(size for name, size in lines.items() if name.startswith("aio") or name in own)
    shared = sum(
        size
        for name, size in lines.items()
        if name.startswith(both) and name not in (*own, *blocking)
    )
    return alone, shared


if __name__ == "__main__":
    main()
