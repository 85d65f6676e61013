"""AsyncResult under its oldest address, for ``importlib.import_module("rpyc_like.core.async")``."""

from __future__ import annotations

import sys

from . import async_

sys.modules[__name__] = async_
