"""An echo server for Emacs, which starts it and is called back: see echo.el."""

from rpyc_like.epc.server import EPCServer

server = EPCServer(("127.0.0.1", 0), exit_with_last_client=True)


@server.register_function
def echo(*args):
    """Returns its arguments."""
    return args


@server.register_function
def add_in_emacs(*numbers):
    """Has Emacs add numbers."""
    emacs = server.clients[0]
    return emacs.call_sync("add", numbers, timeout=10)


@server.register_function
def divide(a, b):
    """Divides; what goes wrong here is an error in Emacs."""
    return a / b


server.print_port()  # Emacs takes the first output for the port
server.serve_forever()
