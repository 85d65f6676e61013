"""A child process over its standard input and output: a sandbox that may crash."""

import sys

import rpyc_like as rpyc
from rpyc_like.utils.factory import connect_stdpipes, connect_subproc


class Sandbox(rpyc.Service):
    """Runs formulas in a process of its own."""

    def exposed_run(self, formula, names):
        return eval(formula, {"__builtins__": {}}, dict(names))

    def exposed_each(self, numbers, func):
        return [func(number) for number in numbers]

    def exposed_text(self, size):
        return "x" * size

    def exposed_crash(self):
        import os

        os._exit(3)


def child():
    connect_stdpipes(Sandbox).serve_all()


def start():
    return connect_subproc([sys.executable, "-u", __file__, "child"])


def main():
    conn = start()
    print("2 * x + y =", conn.root.run("2 * x + y", (("x", 20), ("y", 2))))
    for formula in ("1 / 0", "x +", "open('file')"):
        try:
            conn.root.run(formula, ())
        except Exception as error:
            print(formula, "->", type(error).__name__)
    print("callbacks:", list(conn.root.each((1, 2, 3), lambda number: number * number)))
    print("large answers:", len(conn.root.text(3_000_000)))
    results = [rpyc.async_(conn.root.run)(f"x ** {number}", (("x", 2),)) for number in range(8)]
    print("at once:", [result.value for result in results])
    print("the child runs:", conn.proc.poll() is None)
    conn.close()
    print("the child has ended:", conn.proc.wait(10) is not None)

    conn = start()
    crash = conn.root.crash
    try:
        crash()
    except EOFError:
        print("crashed, and noticed:", conn.proc.wait(10))
    try:
        crash()
    except EOFError:
        print("closed:", conn.closed)


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()
