"""What ``shapes.exs`` calls: a class of objects that Elixir holds, and calls back into Elixir."""

from erlport import erlang


class Shape:
    """A rectangle that Elixir holds."""

    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self, *, scale=1):
        """Returns the area."""
        return self.width * self.height * scale

    def __iter__(self):
        return iter((self.width, self.height))


def upcase(text):
    """Has Elixir do it."""
    return erlang.call("Elixir.String", "upcase", [text])
