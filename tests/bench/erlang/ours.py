"""Answers {echo, Value} with Value, as a program of erlport 0.6 does."""

from rpyc_like.erlport import Port, Protocol


class Echo(Protocol):
    """Has one handler."""

    def handle_echo(self, value):
        """Returns the value."""
        return value


Echo().run(Port(packet=4, use_stdio=True))
