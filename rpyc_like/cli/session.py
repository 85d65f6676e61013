"""An interactive session with ``conn`` bound, and completion on remote objects."""

from __future__ import annotations

import code
import keyword
import rlcompleter
from typing import Any

from ..core.netref import is_netref
from ..core.protocol import Connection
from ..core.service import ModuleNamespace

__all__ = ["Completer", "interact"]

BANNER = """
`conn` is a connection to another Python process. Try:
    conn.modules.os.listdir(".")
    conn.modules.sys.version
    conn.execute("x = [1, 2, 3]"); conn.namespace["x"]
    conn.modules.os.listdir("/nowhere")     # an error, with both tracebacks
Tab completes remote names too. Ctrl-D ends the session."""

_MODULES = (
    "sorted({name.partition('.')[0] for name in __import__('sys').modules}"
    " | set(__import__('sys').builtin_module_names))"
)


class Completer(rlcompleter.Completer):
    """Completes names, also of remote objects.

    Names come from ``dir``; attributes of remote objects are never evaluated for it.
    """

    namespace: dict[str, Any]

    def __init__(self, namespace: dict[str, Any], conn: Connection) -> None:
        super().__init__(namespace)
        self._conn = conn

    def attr_matches(self, text: str) -> list[str]:
        """Returns completions of ``expression.prefix``."""
        expression, _, prefix = text.rpartition(".")
        if not expression.replace(".", "").isidentifier():
            return []
        try:
            obj = eval(expression, self.namespace)
            names = self._names(obj)
        except Exception:
            return []
        if names is None:
            return super().attr_matches(text)
        hidden = not prefix.startswith("_")
        return [
            f"{expression}.{name}"
            for name in names
            if name.startswith(prefix) and not (hidden and name.startswith("_"))
        ]

    def _names(self, obj: Any) -> list[str] | None:
        if type(obj) is ModuleNamespace:
            found = list(self._conn.eval(_MODULES))
        elif is_netref(obj):
            found = list(obj.__dir__())
        else:
            return None
        names = sorted(name for name in found if type(name) is str)
        return [name for name in names if name.isidentifier() and not keyword.iskeyword(name)]


def interact(conn: Connection) -> None:
    """Runs the session until the user ends it."""
    namespace: dict[str, Any] = {"__name__": "__console__", "__doc__": None, "conn": conn}
    try:
        import readline
    except ImportError:
        pass  # a Python without it: no completion
    else:
        readline.set_completer(Completer(namespace, conn).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(BANNER, local=namespace, exitmsg="")
