"""EPC: calls between Python and Emacs, over the same connection layer as everything else.

The modules have the names and contents of python-epc's, so that a program changes its imports from
``epc.server`` to ``rpyc_like.epc.server`` and nothing else.
"""

from __future__ import annotations

from ..version import __version__

__all__ = ["__author__", "__license__", "__version__"]

__author__ = "the founders of rpyc_like"
__license__ = "MIT"
