"""A chat: clients get what others say as events, and who comes and goes."""

import threading

import rpyc_like as rpyc
from rpyc_like.utils.server import ThreadedServer


class ChatService(rpyc.Service):
    """One for each client; the room is shared."""

    ALIASES = ["CHAT"]
    room = {}
    lock = threading.Lock()

    def on_connect(self, conn):
        self.name = None

    def on_disconnect(self, conn):
        if self.name is not None:
            with self.lock:
                del self.room[self.name]
            self.tell("left", self.name)

    def exposed_join(self, name, on_event):
        with self.lock:
            if name in self.room:
                raise KeyError(f"{name} is taken")
            self.room[name] = rpyc.async_(on_event)
        self.name = name
        self.tell("joined", name)
        return sorted(self.room)

    def exposed_say(self, text):
        if self.name is None:
            raise PermissionError("join first")
        self.tell("said", self.name, text)

    def tell(self, *event):
        with self.lock:
            listeners = list(self.room.values())
        for on_event in listeners:
            on_event(*event)


class Client:
    """Somebody in the chat, with a thread that takes events."""

    def __init__(self, port, name):
        self.name = name
        self.events = []
        self.changed = threading.Condition()
        self.conn = rpyc.connect("localhost", port)
        self.background = rpyc.BgServingThread(self.conn)
        print(name, "enters, and sees", list(self.conn.root.join(name, self.on_event)))

    def on_event(self, *event):
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait_for(self, *event):
        """Waits until an event has come."""
        with self.changed:
            assert self.changed.wait_for(lambda: event in self.events, 10), (self.name, event)

    def leave(self):
        self.background.stop()
        self.conn.close()


def main():
    server = ThreadedServer(ChatService, hostname="localhost", port=0)
    server._start_in_thread()

    stranger = rpyc.connect("localhost", server.port)
    try:
        stranger.root.say("let me in")
    except PermissionError as error:
        print("refused:", error.args[0])

    ann = Client(server.port, "ann")
    bob = Client(server.port, "bob")
    try:
        stranger.root.join("ann", print)
    except KeyError as error:
        print("refused:", error.args[0])
    stranger.close()

    ann.conn.root.say("hello")
    bob.wait_for("said", "ann", "hello")
    bob.conn.root.say("hi, \N{WAVING HAND SIGN}")
    ann.wait_for("said", "bob", "hi, \N{WAVING HAND SIGN}")
    for number in range(5):
        ann.conn.root.say(str(number))
    bob.wait_for("said", "ann", "4")
    bob.leave()
    ann.wait_for("left", "bob")
    ann.leave()
    for client in (ann, bob):
        for event in client.events:
            print(client.name, "<-", *event)
    server.close()


if __name__ == "__main__":
    main()
