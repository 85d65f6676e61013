"""Stands for ``erlport`` where this folder is on the path; see :mod:`rpyc_like.alias`."""

import importlib
import sys

from rpyc_like import alias

del sys.modules[__name__]
alias.install("erlport")
importlib.import_module(__name__)
