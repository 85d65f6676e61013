"""Stands for ``epc`` where this folder is on the path; see :mod:`rpyc_like.alias`."""

import importlib
import sys

from rpyc_like import alias

del sys.modules[__name__]
alias.install("epc")
importlib.import_module(__name__)
