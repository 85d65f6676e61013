"""A window that Emacs opens, fills and hears from: tkinter beside an EPC server. See window.el.

The window belongs to the main thread, the server to another one: what Emacs asks for is handed
over to the window's loop, and Emacs is called without waiting.
"""

import queue
import threading
import tkinter
from concurrent.futures import Future

from rpyc_like.epc.server import ThreadingEPCServer

work = queue.SimpleQueue()
server = ThreadingEPCServer(("127.0.0.1", 0))


def for_emacs(function):
    """Offers a function that runs in the window's thread."""

    def hand_over(*args):
        done = Future()
        work.put((done, function, args))
        return done.result(timeout=10)

    server.register_function(hand_over, function.__name__)
    return function


def do_work():
    """Does what has been handed over, and looks again a little later."""
    while not work.empty():
        done, function, args = work.get()
        try:
            done.set_result(function(*args))
        except Exception as error:
            done.set_exception(error)
    window.after(20, do_work)


def clicked():
    """Tells Emacs what is in the field."""
    for emacs in server.clients:
        emacs.call("clicked", [entry.get()])


window = tkinter.Tk()
window.title("Python for Emacs")
label = tkinter.Label(window, text="Nothing yet", font=("", 16), padx=40, pady=20)
entry = tkinter.Entry(window, width=40)
button = tkinter.Button(window, text="Tell Emacs", command=clicked)
for widget in (label, entry, button):
    widget.pack(padx=20, pady=8)


@for_emacs
def show(text):
    """Shows a text in the window."""
    label["text"] = text
    window.update()


@for_emacs
def fill(text):
    """Writes into the field, as a user would."""
    entry.delete(0, "end")
    entry.insert(0, text)
    window.update()


@for_emacs
def press():
    """Presses the button, as a user would."""
    button.invoke()


@for_emacs
def size():
    """Returns width and height of the window."""
    return window.winfo_width(), window.winfo_height()


server.handle_client_disconnect = lambda emacs: work.put((Future(), window.quit, ()))
threading.Thread(target=server.serve_forever, daemon=True).start()
server.print_port()
do_work()
window.mainloop()
