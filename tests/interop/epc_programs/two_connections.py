"""The way of EAF and lsp-bridge: a server each way, methods of an instance."""

import logging
import queue
import threading

from epc.client import EPCClient
from epc.server import ThreadingEPCServer

logging.getLogger("epc").handlers = []
logging.getLogger("epc").propagate = False


class Bridge:
    def __init__(self, emacs_port):
        self.server = ThreadingEPCServer(("127.0.0.1", 0), log_traceback=True)
        self.server.daemon_threads = True
        self.server.allow_reuse_address = True
        self.server.register_instance(self)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.emacs = EPCClient(("127.0.0.1", emacs_port), log_traceback=True)
        for name in ("open_file", "close_file"):
            setattr(self, name, self.maker(name))
        self.emacs.call("first-start", [self.server.server_address[1]])

    def maker(self, name):
        return lambda path: self.emacs.call("done", [name, path])

    def ask(self, name):
        return self.emacs.call_sync("value-of", [name], timeout=10)

    def slow(self):
        try:
            self.emacs.call_sync("never", [], timeout=0.05)
        except queue.Empty:
            return "no answer"


heard = queue.Queue()
release = threading.Event()
emacs = ThreadingEPCServer(("127.0.0.1", 0))
emacs.daemon_threads = True
emacs.register_function(lambda port: heard.put(port), "first-start")
emacs.register_function(lambda *args: heard.put(list(args)), "done")
emacs.register_function(lambda name: {"name": name, "items": [1, None, True]}, "value-of")
emacs.register_function(lambda: release.wait(10), "never")
threading.Thread(target=emacs.serve_forever, daemon=True).start()

bridge = Bridge(emacs.server_address[1])
lisp = EPCClient(("127.0.0.1", heard.get(timeout=60)))
lisp.call("open_file", ["/tmp/x"])
print(heard.get(timeout=60))
lisp.call("close_file", ["/tmp/x"])
print(heard.get(timeout=60))
print(lisp.call_sync("ask", ["font"]))
print(lisp.call_sync("slow", []))
answers = queue.Queue()
lisp.call("ask", ["a"], callback=lambda value: answers.put(value[1]))
lisp.call("missing", [], errback=lambda error: answers.put(type(error).__name__))
print(sorted(answers.get(timeout=60) for _ in range(2)))
release.set()
