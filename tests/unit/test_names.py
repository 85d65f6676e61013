"""Names that programs import, and imports where the system offers less."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import rpyc_like as rpyc

ROOT = Path(__file__).resolve().parents[2]

NAMES = {
    "rpyc_like": (
        "SocketStream PipeStream Channel Connection Service VoidService SlaveService MasterService "
        "ClassicService BaseNetref NetProxy AsyncResult AsyncResultTimeout GenericException "
        "connect_stream connect_channel connect_pipes connect_stdpipes connect ssl_connect "
        "connect_subproc connect_thread async_ Async timed classic exposed service setup_logger "
        "spawn OneShotServer ThreadedServer __version__ factory helpers server"
    ),
    "rpyc_like.core": "brine channel consts netref protocol service stream vinegar async_",
    "rpyc_like.core.protocol": "Connection DEFAULT_CONFIG PingError AsyncResult UNBOUND_THREAD_ID",
    "rpyc_like.core.service": (
        "Service VoidService Slave SlaveService FakeSlaveService MasterService ClassicService "
        "ClassicClient ModuleNamespace exposed service"
    ),
    "rpyc_like.core.stream": "Stream SocketStream PipeStream",
    "rpyc_like.core.async_": "AsyncResult AsyncResultTimeout",
    "rpyc_like.core.vinegar": "dump load GenericException REMOTE_LINE",
    "rpyc_like.core.netref": "BaseNetref NetrefMetaclass NetrefClass class_factory syncreq",
    "rpyc_like.utils.classic": "connect connect_subproc connect_thread unix_connect ssl_connect",
    "rpyc_like.utils.factory": "connect unix_connect ssl_connect connect_subproc connect_thread",
    "rpyc_like.utils.helpers": "async_ timed Async",
    "rpyc_like.utils.server": "Server ThreadedServer OneShotServer",
    "rpyc_like.utils.authenticators": "SSLAuthenticator AuthenticationError",
    "rpyc_like.utils.teleportation": "export_function import_function CODEOBJ_MAGIC",
    "rpyc_like.lib": "spawn spawn_waitready Timeout hybridmethod get_id_pack get_methods",
    "rpyc_like.lib.compat": "pickle is_py_3k maxint select_error TimeoutError",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_exist(module: str) -> None:
    """Each name is where RPyC's programs look for it."""
    found = importlib.import_module(module)
    if module == "rpyc_like.core":
        importlib.import_module("rpyc_like.core.async_")
    missing = [name for name in NAMES[module].split() if not hasattr(found, name)]
    assert not missing


def test_all_is_true() -> None:
    """What ``__all__`` promises is there."""
    assert [name for name in rpyc.__all__ if not hasattr(rpyc, name)] == []
    assert rpyc.AsyncResultTimeout is TimeoutError
    assert rpyc.__version__.startswith("6.")


LESS = """
import os, select, socket, sys
for module, names in (
    (os, "register_at_fork set_blocking get_blocking geteuid fork"),
    (select, "poll"),
    (socket, "AF_UNIX MSG_DONTWAIT TCP_QUICKACK SO_REUSEPORT socketpair"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
import rpyc_like, rpyc_like.aio, rpyc_like.cli.quickstart, rpyc_like.cli.session
import rpyc_like.utils.authenticators, rpyc_like.utils.teleportation, rpyc_like.core.async_
"""


def test_imports_without_posix() -> None:
    """Everything imports where the system has none of what only POSIX has."""
    subprocess.run([sys.executable, "-c", LESS], cwd=ROOT, check=True, timeout=200)


def test_imports_without_plumbum() -> None:
    """Only the command line needs what is not in the standard library."""
    code = (
        "import sys; sys.modules['plumbum'] = None; import rpyc_like; import rpyc_like.cli.session"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=200)
