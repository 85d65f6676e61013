"""erlport 1.x: the module that programs started by Erlang import as ``erlport``.

``python -m rpyc_like.erlport`` runs such programs, and answers ``import erlport`` with this.
"""

from __future__ import annotations

from .erlterms import Atom, ImproperList, List

__all__ = ["Atom", "ImproperList", "List"]
