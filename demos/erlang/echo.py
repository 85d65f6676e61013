"""A program for a port, with erlport 0.6's names: ``echo.erl`` starts it."""

from rpyc_like.erlport import Port, Protocol, String


class Greeter(Protocol):
    """Answers ``{hello, Name}`` and ``{count, Number}``."""

    def handle_hello(self, name):
        """One reply."""
        return "Hello, " + String(name)

    def handle_count(self, number):
        """As many replies as are asked for."""
        yield from range(1, number + 1)


if __name__ == "__main__":
    Greeter().run(Port(packet=4, use_stdio=True))
