"""Attribute access policy: what a peer may do with an object that was exported to it.

One function decides (:func:`decide`): it takes an object, a name and settings, and returns the rule
that allows the access, or raises. :func:`check_call` decides about calls, and :data:`LADDERS` is
the table of objects that lead a peer further than their owner meant. The packages of the protocols
supply settings and nothing else.

Classes and instance dictionaries are looked at without running their code. Only where that finds
nothing and the type has a ``__getattr__``, or for a proxy of another connection's object, the
object itself is asked, once, and what it answers is the value.
"""

from __future__ import annotations

import sys
import typing
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from string import Formatter
from types import (
    CodeType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any, Final, NamedTuple

from ...errors import AccessDenied
from ..interpreter_attrs import INTERNALS
from ..received_errors import made_from_peer, peers_data
from ..stand_ins import dict_of, is_among, module_of, mro_of
from .stdlib import (
    ABSENT,
    MAX_WRAPPED,
    MISSING,
    UNBOUND,
    WEAK_PROXIES,
    facts_of,
    field_leads_to_memory,
    find,
    full_name,
    instance_dict,
    is_of_library,
    is_of_module,
    is_wrapper,
    leads_to_memory,
    members,
    step_into,
    through_proxy,
    unwrapped,
)

__all__ = [
    "ABSENT",
    "ALL",
    "ANY_PUBLIC",
    "EXPOSED",
    "LADDERS",
    "LISTED",
    "MAX_NAME",
    "MISSING",
    "OWN",
    "PUBLIC",
    "PUBLIC_ONLY",
    "SAFE",
    "TOOLS",
    "UNREACHABLE",
    "Ladder",
    "check_call",
    "check_public",
    "check_special",
    "check_value",
    "contents",
    "decide",
    "describe",
    "exact_name",
    "exported_ladders",
    "find",
    "full_name",
    "instance_dict",
    "is_module",
    "is_tool",
    "ladder",
    "public",
    "reachable",
    "module_of",
    "risk",
    "rule_of",
    "unwrapped",
    "visible",
]

MAX_NAME: Final = 1000
"""Longest name, in characters, that is looked up for a peer."""

Settings = Mapping[str, Any]
"""The configuration keys ``allow_*``, ``safe_attrs`` and ``exposed_prefix``."""

ALL: Final = "all attributes"
SAFE: Final = "safe attribute"
EXPOSED: Final = "exposed prefix"
PUBLIC: Final = "public"
ANY_PUBLIC: Final = "public, ladders too"
OWN: Final = "own method"
"""Rules that allow an access: the keys ``allow_all_attrs``, ``safe_attrs``, ``exposed_prefix``,
``allow_public_attrs``, and a method of the program's own (``_rpyc_getattr``, ``_check_attr``)."""

UNREACHABLE: Final = INTERNALS.union(
    # make instances and classes, or run when Python makes them
    "__new__ __init__ __init_subclass__ __class_getitem__ __prepare__ __mro_entries__ "
    "__set_name__ __subclasshook__ __build_class__ __post_init__ __del__ "
    # read and write what the caller names
    "__getattr__ __getattribute__ __setattr__ __delattr__ __dict__ __slots__ "
    # make copies and rebuild objects
    "__reduce__ __reduce_ex__ __getstate__ __setstate__ __getnewargs__ __getnewargs_ex__ "
    "__replace__ "
    # lead to classes, functions, modules and globals
    "__class__ __base__ __bases__ __mro__ __subclasses__ __objclass__ __origin__ __self__ "
    "__func__ __wrapped__ __closure__ __code__ __globals__ __builtins__ __defaults__ "
    "__kwdefaults__ __annotations__ __annotate__ __type_params__ __loader__ __spec__ "
    "__import__ __traceback__ __context__ __cause__ __weakref__ __abstractmethods__".split()
)
"""Names that no peer reaches unless everything is allowed, or the program has added the very name
to its ``safe_attrs``."""


class Ladder(NamedTuple):
    """One kind of object that leads a peer further than its owner meant."""

    title: str
    """What it is, as the table of the documentation names it."""
    policy: str
    """What a restricted peer may do with it."""
    refused: Mapping[str, frozenset[str]] = {}
    """Full names of classes, and the names that are refused of their instances and of themselves;
    ``*`` is every public name."""
    calls: frozenset[str] = frozenset()
    """Full names of functions and classes that are not called."""
    modules: frozenset[str] = frozenset()
    """Modules with no public attribute for a peer, and whose functions are not called."""
    callables_of: frozenset[str] = frozenset()
    """Modules of which no function and no class is called; methods of their objects are."""
    costly: frozenset[str] = frozenset()
    """Full names of functions and classes that compute for long; they are called."""
    is_usual: bool = False
    """Whether a service that exports such an object is not warned about it."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _each(kinds: str, names: str) -> dict[str, frozenset[str]]:
    """Return the same names for several classes."""
    return dict.fromkeys(kinds.split(), _names(names))


_SUBSCRIBED: Final = {
    f"typing.{one.__name__}": one
    for one in vars(typing).values()
    if isinstance(one, type) and one.__module__ == "typing" and "__getitem__" in vars(one)
}
"""Classes of aliases and special forms: subscription compiles texts."""

_WRAPPERS: Final = Ladder(
    "methods of `object` and `type` that do the same (`object.__getattribute__`,"
    " `type.__call__`, `__reduce_ex__`, `__subclasses__` ...)",
    "not called and not passed on, bound or not",
)
_ANY_MODULE: Final = Ladder(
    "other modules",
    "public functions, classes and values of an exported one are used; no public attribute"
    " leads to a module",
)
_OTHERS: Final = Ladder(
    "other objects of the standard library",
    "public names are read of values, containers and plain synchronisation"
    " (`rpyc_like.lib.guards.access_policy.LISTED`), and of no others; what a class of the program"
    " adds is its own",
    is_usual=True,
)

LADDERS: Final = (
    Ladder(
        "texts, and the methods that format with them",
        "`format` and `format_map` are not read of a text; a bound one that was exported is called"
        " if its text looks up no attribute and no item",
        refused=_each(
            "builtins.str collections.UserString",
            "format format_map",
        ),
        is_usual=True,
    ),
    Ladder(
        "`string.Formatter`",
        "its methods that format or look up fields are refused; `string.Template` is harmless",
        refused=_each(
            "string.Formatter",
            "format vformat get_field get_value",
        ),
    ),
    Ladder(
        "functions that read, write or call what their caller names (`getattr`, `setattr`, `vars`,"
        " `globals`, `operator.attrgetter`, `functools.partial`, `functools.update_wrapper` ...)",
        "not called and not passed on; what they have made (`attrgetter('name')`) is called",
        calls=_names(
            "builtins.getattr builtins.hasattr builtins.setattr builtins.delattr builtins.vars "
            "builtins.dir builtins.globals builtins.locals builtins.super "
            "builtins.__build_class__ operator.attrgetter operator.methodcaller "
            "operator.itemgetter operator.call _operator.call _operator.getitem "
            "_operator.setitem _operator.delitem functools.partial functools.partialmethod "
            "functools.reduce _functools.reduce functools.singledispatch "
            "functools.singledispatchmethod functools.update_wrapper functools.wraps "
            "functools.total_ordering dataclasses.replace dataclasses.make_dataclass "
            "dataclasses.dataclass collections.namedtuple typing.get_type_hints typing.NamedTuple "
            "typing.ForwardRef sys._getframe sys._current_frames sys._current_exceptions "
            "sys.settrace sys.setprofile sys.call_tracing sys.addaudithook types.new_class "
            "types.prepare_class types.resolve_bases types.coroutine"
        ),
    ),
    Ladder(
        "functions that run code, import modules, start programs or open files (`eval`, `exec`,"
        " `compile`, `__import__`, `open`, `os.system`, `subprocess.run` ...)",
        "not called and not passed on",
        calls=_names(
            "builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.open "
            "builtins.input builtins.breakpoint sys.breakpointhook io.open _io.open "
            "io.open_code _io.open_code io.FileIO _io.FileIO os.popen os.fdopen "
            "codecs.open gzip.open gzip.GzipFile bz2.open bz2.BZ2File lzma.open lzma.LZMAFile "
            "zipfile.ZipFile tarfile.TarFile tokenize.open tokenize._builtin_open wave.open "
            "wave.Wave_read wave.Wave_write fileinput.input fileinput.FileInput "
            "linecache.getline linecache.getlines tempfile.NamedTemporaryFile tempfile.mkstemp "
            "tempfile.mkdtemp sqlite3.connect _sqlite3.connect sqlite3.Connection dbm.open "
            "mmap.mmap socket.socket urllib.request.urlopen urllib.request.urlretrieve "
            "urllib.request.build_opener profile.run profile.runctx profile.Profile "
            "trace.Trace py_compile.compile compileall.compile_file compileall.compile_dir "
            "webbrowser.open posix.open nt.open xml.etree.ElementTree.parse "
            "xml.sax.parse xml.dom.minidom.parse shutil.copy shutil.copy2 shutil.copyfile "
            "shutil.copytree shutil.move shutil.rmtree shutil.make_archive shutil.unpack_archive "
            "subprocess.Popen os.startfile nt.startfile asyncio.subprocess.create_subprocess_exec "
            "asyncio.subprocess.create_subprocess_shell multiprocessing.context.Process "
            "multiprocessing.process.BaseProcess"
        ).union(
            f"{module}.{name}"
            for module in ("os", "posix", "nt")
            for name in (
                *("system", "fork", "forkpty", "posix_spawn", "posix_spawnp"),
                *(f"exec{how}" for how in "l le lp lpe v ve vp vpe".split()),
                *(f"spawn{how}" for how in "l le lp lpe v ve vp vpe".split()),
            )
        ),
    ),
    Ladder(
        "functions and classes of modules that start processes, connect or open files"
        " (`multiprocessing`, `mailbox`, `netrc`, `dbm`, `smtplib`, `ftplib` ...), others that"
        " connect, and functions that end processes (`socket.create_connection`, `os.kill`,"
        " `os._exit` ...)",
        "not called and not passed on; exceptions are",
        refused={
            **_each("multiprocessing.context.BaseContext", "*"),
            **_each("urllib.request.OpenerDirector", "open error"),
        },
        calls=_names(
            "socket.create_connection socket.create_server socket.socketpair socket.fromfd "
            "asyncio.streams.open_connection asyncio.streams.start_server "
            "asyncio.streams.open_unix_connection asyncio.streams.start_unix_server "
            "xml.etree.ElementTree.iterparse tempfile.TemporaryDirectory tempfile.TemporaryFile "
            "signal.raise_signal signal.pthread_kill _signal.raise_signal _signal.pthread_kill"
        ).union(
            f"{module}.{name}"
            for module in ("os", "posix", "nt")
            for name in ("kill", "killpg", "_exit", "abort")
        ),
        callables_of=_names(
            "multiprocessing multiprocessing.connection multiprocessing.context "
            "multiprocessing.managers multiprocessing.pool multiprocessing.process "
            "multiprocessing.shared_memory multiprocessing.util concurrent.futures.process "
            "dbm dbm.dumb dbm.gnu dbm.ndbm dbm.sqlite3 _dbm _gdbm mailbox netrc filecmp fileinput "
            "ftplib imaplib nntplib poplib smtplib telnetlib http.client http.server socketserver "
            "xmlrpc.client xmlrpc.server zipapp venv ensurepip webbrowser"
        ),
    ),
    Ladder(
        "`type` and other classes of classes",
        "not called and not passed on; `mro` and `register` are refused of classes",
        refused=_each(
            "builtins.type abc.ABCMeta _py_abc.ABCMeta",
            "mro register",
        ),
    ),
    Ladder(
        "classes that functions, code and modules are made of (`types.FunctionType`,"
        " `types.CodeType`, `types.MethodType` ...)",
        "not called and not passed on",
        calls=_names(
            "builtins.function builtins.code builtins.method builtins.cell builtins.module "
            "builtins.traceback types.GenericAlias"
        ),
    ),
    _WRAPPERS,
    Ladder(
        "functions, methods, properties, cells, partial objects and other wrappers",
        "called, if what they wrap is called; what they are made of is refused",
        refused=_each(
            "builtins.function builtins.property builtins.cell functools.partial "
            "functools.partialmethod functools.cached_property "
            "functools.singledispatchmethod builtins.member_descriptor "
            "builtins.getset_descriptor",
            "fget fset fdel getter setter deleter cell_contents func args keywords register "
            "registry dispatch dispatcher __set__ __delete__",
        ),
        is_usual=True,
    ),
    Ladder(
        "generators, coroutines, asynchronous generators, frames, tracebacks and code",
        "run (`send`, `throw`, `close`); what they are made of is refused",
        refused=_each(
            "builtins.code builtins.frame",
            "replace clear",
        ),
        is_usual=True,
    ),
    Ladder(
        "aliases such as `list[int]`",
        "called as the class that they stand for; no public attribute is read, and those of"
        " `typing` are not subscripted",
        refused={
            **_each("types.GenericAlias", "*"),
            **_each(" ".join(_SUBSCRIBED), "__getitem__"),
        },
        is_usual=True,
    ),
    Ladder(
        "paths (`pathlib.Path`)",
        "taken apart and put together; what opens, lists or changes files is refused",
        refused=_each(
            "pathlib.Path pathlib._local.Path",
            "open read_text read_bytes write_text write_bytes unlink rmdir mkdir rename replace "
            "touch symlink_to hardlink_to link_to readlink chmod lchmod iterdir glob rglob walk "
            "copy copy_into move move_into",
        ),
        is_usual=True,
    ),
    Ladder(
        "objects that open files or import what their caller names (parsers of files, archives,"
        " NumPy arrays, profiles, databases, loaders of tests)",
        "the methods that do so are refused",
        refused={
            **_each("configparser.RawConfigParser", "read"),
            **_each("xml.etree.ElementTree.ElementTree", "parse write"),
            **_each("zipfile.ZipFile", "extract extractall write"),
            **_each(
                "tarfile.TarFile",
                "extract extractall add gettarinfo open taropen gzopen bz2open xzopen zstopen",
            ),
            **_each("numpy.ndarray numpy.generic", "tofile dump dumps resize"),
            **_each("pstats.Stats", "add dump_stats load_stats"),
            **_each("http.cookiejar.FileCookieJar", "load save revert"),
            **_each("tracemalloc.Snapshot", "dump load"),
            **_each("ssl.SSLContext _ssl._SSLContext", "load_cert_chain load_verify_locations"),
            **_each("sqlite3.Connection", "enable_load_extension load_extension"),
            **_each(
                "_lsprof.Profiler cProfile.Profile profile.Profile trace.Trace",
                "dump_stats create_stats run runctx runcall runfunc",
            ),
            **_each("unittest.loader.TestLoader", "discover loadTestsFromName loadTestsFromNames"),
        },
        is_usual=True,
    ),
    Ladder(
        "tasks and futures of asyncio",
        "awaited, cancelled and asked for results; the loop, frames and contexts are refused",
        refused=_each(
            "_asyncio.Future _asyncio.Task asyncio.futures.Future "
            "asyncio.tasks.Task asyncio.runners.Runner",
            "get_loop get_stack print_stack get_coro get_context run",
        ),
        is_usual=True,
    ),
    Ladder(
        "errors of missing attributes, and views of memory",
        "`obj`, the object that they are about, is refused",
        refused=_each(
            "builtins.AttributeError builtins.NameError builtins.memoryview",
            "obj",
        ),
        is_usual=True,
    ),
    Ladder(
        "`contextvars.Context`",
        "`run` is refused",
        refused=_each(
            "_contextvars.Context contextvars.Context",
            "run",
        ),
    ),
    Ladder(
        "loggers and what formats their records",
        "written to; what they belong to is refused, and formatters are not made",
        refused=_each(
            "logging.Logger logging.LoggerAdapter logging.Handler logging.Manager",
            "manager root parent handlers filters addHandler removeHandler addFilter removeFilter "
            "makeRecord callHandlers formatter setFormatter getLogger setLoggerClass "
            "setLogRecordFactory loggerDict loggerClass logRecordFactory baseFilename stream "
            "setStream logger",
        ),
        calls=_names(
            "logging.Formatter logging.PercentStyle logging.FileHandler logging.basicConfig "
            "logging.setLoggerClass logging.setLogRecordFactory"
        ),
        is_usual=True,
    ),
    Ladder(
        "objects that run or rebuild what they are given (`code.InteractiveConsole`,"
        " `pickle.Unpickler`, `ctypes.CDLL`, event loops)",
        "no public attribute is read",
        refused=_each(
            "code.InteractiveInterpreter pickle._Unpickler _pickle.Unpickler "
            "ctypes.CDLL ctypes.LibraryLoader bdb.Bdb "
            "asyncio.events.AbstractEventLoop cmd.Cmd importlib.abc.Loader "
            "_frozen_importlib_external._LoaderBasics "
            "_frozen_importlib.BuiltinImporter",
            "*",
        ),
    ),
    Ladder(
        "`help`, `exit`, and functions of `ctypes`",
        "not called and not passed on",
        refused=_each(
            "_sitebuiltins._Helper _sitebuiltins.Quitter _ctypes.CFuncPtr",
            "__call__",
        ),
    ),
    Ladder(
        "objects of `ctypes` that lead to any memory: pointers, `c_char_p`, `c_wchar_p`,"
        " `py_object`, functions, arrays of these, and structures and unions with such fields",
        "no public attribute, no item and no such field is read or set, they are not passed on to"
        " functions of the standard library, and their classes are not called; numbers, arrays of"
        " numbers and fields with numbers are used",
        refused=_each(
            "_ctypes._Pointer ctypes.c_char_p ctypes.c_wchar_p ctypes.py_object",
            "* __getitem__ __setitem__ __delitem__",
        ),
    ),
    Ladder(
        "comparisons of texts and sequences, whose time grows with the square or the cube of their"
        " sizes (`difflib.SequenceMatcher`, `difflib.HtmlDiff`, `difflib.ndiff` ...)",
        "called, and nothing bounds the time: export a function that bounds its arguments",
        costly=_names(
            "difflib.SequenceMatcher difflib.Differ difflib.HtmlDiff difflib.ndiff "
            "difflib.unified_diff difflib.context_diff difflib.diff_bytes "
            "difflib.get_close_matches"
        ),
    ),
    Ladder(
        "modules for all this (`sys`, `importlib`, `inspect`, `gc`, `ctypes`, `pickle`, `code`,"
        " `subprocess` ...)",
        "no public attribute is read, and none of their functions and classes is called or passed"
        " on (of `sys` only those that are listed)",
        modules=_names(
            "sys importlib _imp _frozen_importlib _frozen_importlib_external "
            "importlib.abc importlib.machinery importlib.metadata importlib.resources "
            "importlib.util importlib._bootstrap importlib._bootstrap_external importlib._abc "
            "inspect gc ctypes ctypes.util ctypes.wintypes _ctypes pickle _pickle marshal "
            "shelve copyreg code codeop runpy pkgutil zipimport subprocess _posixsubprocess "
            "pty pdb bdb timeit cProfile doctest "
            "pydoc logging.config"
        ),
    ),
    _ANY_MODULE,
    _OTHERS,
)
"""What leads further than it looks, and what a peer may do with it unless everything is allowed.

Objects are recognised by the full names of their classes, or by their own: nothing is imported."""

_FILE: Final = (
    "read read1 readinto readline readlines write writelines seek tell flush truncate close closed "
    "name mode encoding errors newlines isatty readable writable seekable fileno"
)
_ERROR: Final = (
    "args add_note with_traceback msg message name path code reason value key option section "
    "source doc pos lineno colno returncode cmd output stdout stderr timeout errno strerror "
    "filename filename2 expected partial consumed"
)

LISTED: Final[Mapping[str, frozenset[str]]] = {
    # modules: values, containers, and what classes of programs are made of
    **_each(
        "builtins abc array calendar collections collections.abc csv _csv datetime decimal "
        "_decimal _pydecimal difflib enum fractions functools hashlib _hashlib _blake2 _md5 _sha1 "
        "_sha2 _sha256 _sha512 _sha3 hmac _hmac http io _io ipaddress itertools numbers operator "
        "_operator queue _queue random _random re _sre statistics _struct textwrap time typing "
        "urllib.parse uuid zlib _collections _weakrefset graphlib "
        "asyncio.locks asyncio.mixins asyncio.queues",
        "*",
    ),
    # classes
    **_each(
        "argparse.Namespace argparse._AttributeHolder "
        "asyncio.futures.Future asyncio.tasks.Task _asyncio.Future _asyncio.Task "
        "asyncio.runners.Runner concurrent.futures._base.Future concurrent.futures._base.Executor "
        "contextlib.AbstractContextManager contextlib.AbstractAsyncContextManager "
        "contextlib.ContextDecorator contextlib.AsyncContextDecorator "
        "_contextvars.ContextVar _contextvars.Token "
        "logging.Filterer logging.Logger logging.RootLogger logging.LoggerAdapter logging.Handler "
        "logging.StreamHandler logging.NullHandler logging.LogRecord "
        "os.stat_result os.terminal_size posix.DirEntry nt.DirEntry "
        "signal.Signals signal.Handlers signal.Sigmasks socket.AddressFamily socket.SocketKind "
        "sqlite3.Row string.Formatter string.Template "
        "threading.Thread threading._MainThread threading._DummyThread threading.Event "
        "threading.Condition threading.Semaphore threading.BoundedSemaphore threading.Barrier "
        "threading._RLock _thread.lock _thread.RLock _thread._local _threading_local.local "
        "types.SimpleNamespace types.UnionType types.GenericAlias "
        "weakref.ReferenceType weakref.WeakMethod weakref.KeyedRef weakref.WeakKeyDictionary "
        "weakref.WeakValueDictionary xml.etree.ElementTree.Element",
        "*",
    ),
    **_each(
        " ".join(
            f"{module}.{kind}"
            for module in ("pathlib", "pathlib._local")
            for kind in (
                *("PurePath", "PurePosixPath", "PureWindowsPath"),
                *("Path", "PosixPath", "WindowsPath", "_PathParents"),
            )
        ),
        "*",
    ),
    # classes of which some names are harmless
    **_each(
        "codecs.StreamReaderWriter codecs.StreamReader codecs.StreamWriter "
        "tempfile._TemporaryFileWrapper tempfile.SpooledTemporaryFile gzip.GzipFile bz2.BZ2File "
        "lzma.LZMAFile _compression.BaseStream compression._common._streams.BaseStream",
        _FILE,
    ),
    **_each(
        "asyncio.streams.StreamReader asyncio.streams.StreamWriter",
        "read readline readexactly readuntil at_eof write writelines drain close is_closing "
        "wait_closed write_eof can_write_eof",
    ),
    **_each("concurrent.futures.thread.ThreadPoolExecutor", "submit map shutdown"),
    **_each(
        "configparser.RawConfigParser configparser.ConfigParser configparser.SectionProxy",
        "sections add_section has_section options has_option get getint getfloat getboolean items "
        "keys values set remove_option remove_section defaults pop popitem setdefault update clear "
        "read_string read_dict name",
    ),
    **_each("json.decoder.JSONDecoder", "decode raw_decode"),
    **_each("json.encoder.JSONEncoder", "encode iterencode default"),
    **_each("logging.FileHandler", "flush close level name setLevel get_name"),
    **_each("sqlite3.Connection", "commit rollback close total_changes in_transaction"),
    **_each(
        "sqlite3.Cursor",
        "fetchone fetchall fetchmany close description rowcount lastrowid arraysize",
    ),
    **_each("subprocess.CompletedProcess", "args returncode stdout stderr check_returncode"),
    **_each("threading.Timer", "start cancel join is_alive name daemon ident native_id"),
    **_each("weakref.finalize", "alive"),
    **_each("xml.etree.ElementTree.ElementTree", "getroot find findtext findall iter iterfind"),
    # "no_cache" and "from_file" look for files and import what may have them.
    **_each("zoneinfo.ZoneInfo zoneinfo._zoneinfo.ZoneInfo", "key utcoffset tzname dst fromutc"),
    **_each("zipfile.ZipFile", "namelist infolist getinfo read testzip comment filename close"),
    **_each(
        "zipfile.ZipInfo",
        "filename date_time compress_type comment CRC compress_size file_size is_dir",
    ),
}
"""Modules and classes of the standard library whose objects have public names for a peer, and
which: ``*`` is all that :data:`LADDERS` does not refuse. Of other errors, the data (``_ERROR``)."""

_FREELY_CALLED: Final = frozenset({"sys"})
_NAMES: Final = {kind: row for row in LADDERS for kind in row.refused}
_CALLS: Final = {name: row for row in LADDERS for name in row.calls}
_MODULES: Final = {name: row for row in LADDERS for name in row.modules}
_CALLABLES_OF: Final = {name: row for row in LADDERS for name in row.callables_of}
_METACLASSES: Final = _NAMES["builtins.type"]
_FORMATS: Final = _NAMES["builtins.str"]
_COSTLY: Final = {name: row for row in LADDERS for name in row.costly}
_ERROR_NAMES: Final = _names(_ERROR)
_WRITES: Final = frozenset({"__set__", "__delete__"})
_ITEMS: Final = frozenset({"__getitem__", "__setitem__", "__delitem__"})
_MEMORY: Final = _NAMES["_ctypes._Pointer"]
_GUARDED: Final = UNREACHABLE.union(*(names for row in LADDERS for names in row.refused.values()))
_KIND_MODULES: Final = frozenset(kind.rpartition(".")[0] for kind in _NAMES)
_CALLERS: Final = _names(
    "threading contextlib weakref sched queue concurrent.futures._base concurrent.futures.thread "
    "concurrent.futures.process asyncio.events asyncio.base_events asyncio.futures asyncio.tasks "
    "asyncio.threads asyncio.runners functools copy heapq bisect itertools signal atexit"
)
"""Modules with functions that call what they are given."""
TOOLS: Final = _CALLERS.union(
    name if name in _MODULES else name.rpartition(".")[0] for name in (*_CALLS, *_NAMES, *_MODULES)
).union(_CALLABLES_OF)
"""Modules in which functions written in Python are looked at before they are called."""


# -- attributes


def decide(
    is_proxy: Callable[[Any], bool], settings: Settings, obj: Any, name: str, perm: str
) -> tuple[str, Any, str]:
    """Return the name under which ``obj`` may be accessed when a peer asks for ``name``.

    Args:
        is_proxy: tells objects that are another side's, which alone knows what they have.
        perm: the key of the master switch: ``allow_getattr``, ``allow_setattr``, ``allow_delattr``.

    Returns:
        The name, the attribute's value if the object had to be asked for it, else ``MISSING``, and
        the rule that allows the access.

    Raises:
        AccessDenied: no rule does.
    """
    if not (name.isascii() or _is_normal(settings, name)):
        raise _denied(name, perm=perm)
    if not settings[perm]:
        raise _switched_off(is_proxy, settings, obj, name, perm)
    rule = ALL if settings["allow_all_attrs"] else _rule(is_proxy, settings, obj, name)
    if rule is not ALL and issubclass(type(obj), BaseException) and made_from_peer(obj):
        return name, _received(obj, name, rule and perm == "allow_getattr"), rule
    exposed = _exposed_form(settings, obj, name)
    if not exposed:
        if rule:
            return name, MISSING, rule
        raise _refusal(is_proxy, settings, obj, name, perm)
    found = False
    if not is_proxy(obj):
        attribute, value, how = _choose(obj, name, exposed, rule)
        found = value is not MISSING
        if found and (not rule or attribute is name):
            return attribute, MISSING, how
        if id(type(obj)) in WEAK_PROXIES:
            return decide(is_proxy, settings, through_proxy(obj), name, perm)
        if not any("__getattr__" in dict_of(base) for base in mro_of(type(obj))):
            if how:
                return attribute, MISSING, how
            raise _refusal(is_proxy, settings, obj, name, perm)
    if perm == "allow_getattr":
        return _ask(obj, name, exposed, rule, found)
    if rule:
        return name, MISSING, rule
    if hasattr(obj, exposed):
        return exposed, MISSING, EXPOSED
    raise _denied(name, perm=perm)


def _received(obj: Any, name: str, is_allowed: Any) -> Any:
    """Return a field of an exception that a peer has made, ``MISSING`` for a text of it."""
    try:
        if is_allowed:
            return peers_data(obj, name, MISSING)
    except AttributeError:
        pass
    raise _denied(name)


def _ask(obj: Any, name: str, exposed: str, rule: str, found: bool) -> tuple[str, Any, str]:
    """Ask an object that alone knows what attributes it has.

    Args:
        rule: what allows ``name`` as it is, if anything does.
        found: whether ``exposed`` is known to be there.
    """
    missing: AttributeError = _denied(name)
    if rule:
        try:
            return name, getattr(obj, name), rule
        except AttributeError as error:
            missing = error
    if found:
        return exposed, MISSING, EXPOSED
    try:
        return exposed, getattr(obj, exposed), EXPOSED
    except AttributeError:
        raise missing from None


def reachable(
    is_proxy: Callable[[Any], bool],
    settings: Settings,
    obj: Any,
    name: str,
    kind: type | None = None,
) -> tuple[str, Any, str] | None:
    """Return what a peer gets that reads ``name``: the attribute's name, its value, the rule.

    Runs no code of ``obj``: the value is what stands in its class or instance dictionary, for
    example a property; ``MISSING`` if nothing does. None if the access is refused.

    Args:
        kind: the class of an object that is not at hand; ``obj`` is ``ABSENT`` then.
    """
    if not settings["allow_getattr"] or len(name) > MAX_NAME:
        return None
    obj = through_proxy(obj)
    rule = _rule(is_proxy, settings, obj, name, kind)
    if not (name.isascii() or _is_normal(settings, name)):
        return None
    if rule is not ALL and issubclass(type(obj), BaseException) and made_from_peer(obj):
        try:
            return name, _received(obj, name, rule), rule
        except AccessDenied:
            return None
    value: Any = MISSING
    if not is_proxy(obj):
        exposed = _exposed_form(settings, obj, name, kind)
        name, value, rule = _choose(obj, name, exposed, rule, kind)
    if not rule or (rule is PUBLIC and is_module(value)):
        return None
    return name, value, rule


def visible(is_proxy: Callable[[Any], bool], settings: Settings, obj: Any, name: str) -> bool:
    """Return whether a peer may read ``name``, a name that ``obj`` has; runs no code of it."""
    return reachable(is_proxy, settings, obj, name) is not None


def rule_of(is_proxy: Callable[[Any], bool], settings: Settings, obj: Any, name: str) -> str:
    """Return the rule that allows ``name`` of ``obj``; ``OWN`` if only the program does."""
    return _rule(is_proxy, settings, through_proxy(obj), name) or OWN


def check_value(name: str, value: Any) -> None:
    """Raise AccessDenied for a module that a public attribute has led to."""
    if is_module(value):
        raise _denied(name, "it is a module")


def _rule(
    is_proxy: Callable[[Any], bool],
    settings: Settings,
    obj: Any,
    name: str,
    kind: type | None = None,
) -> str:
    """Return the rule that allows reading ``name`` of ``obj`` as it is, "" if none does."""
    if settings["allow_all_attrs"]:
        return ALL
    if settings["allow_exposed_attrs"]:
        prefix = settings["exposed_prefix"]
        if prefix and name.startswith(prefix) and _may_be_exposed(obj, name, kind):
            return EXPOSED
    if settings["allow_safe_attrs"] and name in settings["safe_attrs"]:
        if name in _ITEMS:
            own = type(obj)
            if type(own) is type and id(own) not in _REFUSING_ITEMS:  # nearly all
                return SAFE
            if is_proxy(obj) or _refusing(obj, name, kind) is None:
                return SAFE
        elif name not in _WRITES or is_proxy(obj) or _refusing(obj, name, kind) is None:
            return SAFE
    if settings["allow_public_attrs"] and name[:1] != "_" and name not in INTERNALS:
        if settings["allow_ladders"]:
            return ANY_PUBLIC
        if is_proxy(obj) or _not_public(obj, name, kind) is None:
            return PUBLIC
    return ""


def _exposed_form(settings: Settings, obj: Any, name: str, kind: type | None = None) -> str:
    """Return the name with the prefix, which ``name`` may stand for as well; "" if none."""
    if settings["allow_exposed_attrs"]:
        prefix: str = settings["exposed_prefix"]
        if prefix and not name.startswith(prefix):
            exposed = prefix + name
            if exposed not in _GUARDED or _may_be_exposed(obj, exposed, kind):
                return exposed
    return ""


def _choose(
    obj: Any, name: str, exposed: str, rule: str, kind: type | None = None
) -> tuple[str, Any, str]:
    """Return which form of a name an object has: the form, its value, the rule that allows it.

    Runs no code of the object. If it has neither form, that is ``name`` with the value MISSING.

    Args:
        exposed: the form with the prefix, or "".
        rule: what allows ``name`` as it is, if anything does.
    """
    value = find(obj, name, kind) if rule else MISSING
    if value is MISSING and exposed:
        other = find(obj, exposed, kind)
        if other is not MISSING:
            return exposed, other, EXPOSED
    return name, value, rule


def _may_be_exposed(obj: Any, name: str, kind: type | None = None) -> bool:
    """Return whether a name is none of those that no prefix allows; a prefix can be any text."""
    return name not in _GUARDED or (name not in UNREACHABLE and _refusing(obj, name, kind) is None)


def _is_normal(settings: Settings, name: str) -> bool:
    """Return whether a name cannot be read as another one that looks alike."""
    return settings["allow_all_attrs"] or unicodedata.normalize("NFKC", name) == name


def _refusing(obj: Any, name: str, kind: type | None = None) -> Ladder | None:
    """Return the row of the table by which the public ``name`` of ``obj`` is refused."""
    guarded = name in _GUARDED
    if kind is not None:
        return _refused_by(mro_of(kind), name, guarded)
    obj = through_proxy(obj)
    kind = type(obj)
    if issubclass(kind, ModuleType):
        return _ladder_module(obj)
    row = _refused_by(mro_of(kind), name, guarded)
    if row is None and issubclass(kind, type):
        row = _refused_by(mro_of(obj), name, guarded)
    return row


def _not_public(obj: Any, name: str, kind: type | None = None) -> Ladder | None:
    """Return the row of the table by which ``name`` is not public, though it has no underscore.

    Only here the standard library is closed but for :data:`LISTED`.
    """
    row = _refusing(obj, name, kind) or _closed(obj, name, kind)
    if row is None or _names_one(row, name) or not _is_programs(obj, name, kind):
        return row
    return None


def _closed(obj: Any, name: str, kind: type | None) -> Ladder | None:
    """Return the row of other objects if a base of ``obj`` gives ``name`` to nobody."""
    if kind is not None:
        return _unlisted(mro_of(kind), name)
    obj = through_proxy(obj)
    kind = type(obj)
    if issubclass(kind, ModuleType) or (issubclass(kind, BaseException) and made_from_peer(obj)):
        return None
    if issubclass(kind, type):
        return _unlisted((*mro_of(obj), *mro_of(kind)), name)
    return _unlisted(mro_of(kind), name)


def _names_one(row: Ladder, name: str) -> bool:
    """Return whether a row refuses a name by itself, not with all others of an object."""
    return row is not _OTHERS and any(name in names for names in row.refused.values())


def _is_programs(obj: Any, name: str, kind: type | None) -> bool:
    """Return whether the program keeps ``name`` in an instance of a class of its own.

    What code of the standard library keeps there, in a base of that class, is not the program's.
    """
    mro = mro_of(type(obj) if kind is None else kind)
    bases = [base for base in mro if is_of_library(base)]
    if len(bases) == len(mro) or is_among(type, mro):
        return False
    if kind is None and name not in instance_dict(obj):
        return False
    for base in mro:
        if name in dict_of(base):
            found = mro_of(type(dict_of(base)[name]))
            if kind is not None or any("__set__" in dict_of(one) for one in found):
                return False  # comes before what an instance has
            break
    return not any(name in _stored_by(module_of(base)) for base in bases)


@cache
def _stored_by(module: str) -> frozenset[str]:
    """Return the names of attributes that the code of a module of the library sets on anything."""
    import dis  # loads much, and is seldom needed

    names: set[str] = set()
    left: list[Any] = []
    for value in instance_dict(sys.modules.get(module)).values():
        owner = dict_of(value).values() if issubclass(type(value), type) else (value,)
        left += [one.__code__ for one in map(unwrapped, owner) if type(one) is FunctionType]
    while left:
        code = left.pop()
        left += [const for const in code.co_consts if type(const) is CodeType]
        names.update(one.argval for one in dis.get_instructions(code) if one.opname == "STORE_ATTR")
    return frozenset(names)


def _unlisted(mro: tuple[type, ...], name: str) -> Ladder | None:
    """Return the row of other objects if a class of the standard library gives ``name`` to nobody.

    What a class of the program's defines before that is its own.
    """
    for base in mro:
        if not is_of_library(base):
            if name in dict_of(base):
                return None
            continue
        module = module_of(base)
        names = LISTED.get(module)
        if names is None:
            names = LISTED.get(full_name(base))
        if names is None and is_among(BaseException, mro_of(base)):
            names = _ERROR_NAMES
        if names is None or (name not in names and "*" not in names):
            return _OTHERS
    return None


def _refused_by(mro: tuple[type, ...], name: str, guarded: bool) -> Ladder | None:
    if type(mro[0]) is not type and field_leads_to_memory(mro[0], name):
        return _MEMORY
    for base in mro:
        if module_of(base) in _KIND_MODULES:
            row = _refuses(full_name(base), name)
            if row is not None:
                return row
        if name in dict_of(base) and (guarded or not is_of_library(base)):
            return None  # the program's own
    return None


def _refuses(kind: str, name: str) -> Ladder | None:
    """Return the row by which a class refuses a name."""
    row = _NAMES.get(kind)
    if row is None or (name not in row.refused[kind] and "*" not in row.refused[kind]):
        return None
    return row


def is_module(value: Any) -> bool:
    """Return whether ``value`` is a module, or a weak proxy of one."""
    return issubclass(type(through_proxy(value)), ModuleType)


def _ladder_module(module: Any) -> Ladder | None:
    """Return the row of the table for a module with no public attributes."""
    name = ModuleType.__getattribute__(module, "__dict__").get("__name__")
    return _row_of_module(name) if type(name) is str else None


def _row_of_module(name: str) -> Ladder | None:
    return _MODULES.get(name) or _MODULES.get(name.partition(".")[0])


def public(value: Any, names: Iterable[str]) -> Any:
    """Return what a path of public names leads to, for protocols without a configuration.

    Raises:
        AccessDenied: through a name that the policy refuses, or to a module.
        AttributeError: nowhere.
    """
    for name in names:
        name, found, _ = decide(_is_never_proxy, PUBLIC_ONLY, value, name, "allow_getattr")
        value = getattr(value, name) if found is MISSING else found
        check_value(name, value)
    return value


def _is_never_proxy(obj: Any) -> bool:
    return False


PUBLIC_ONLY: Final[Settings] = {
    "allow_getattr": True,
    "allow_setattr": True,
    "allow_delattr": False,
    "allow_all_attrs": False,
    "allow_exposed_attrs": False,
    "allow_public_attrs": True,
    "allow_ladders": False,
    "allow_safe_attrs": False,
    "exposed_prefix": "",
    "safe_attrs": frozenset(),
}
"""Settings of protocols without a configuration: EPC and Erlang."""


def check_public(value: Any, name: str) -> None:
    """Raise AccessDenied if a peer of such a protocol may not set attribute ``name``."""
    decide(_is_never_proxy, PUBLIC_ONLY, value, name, "allow_setattr")


_SPECIAL: Final[Settings] = {
    **PUBLIC_ONLY,
    "allow_public_attrs": False,
    "allow_safe_attrs": True,
    "safe_attrs": frozenset("__getitem__ __iter__ __next__ __len__ __str__".split()),
}


def check_special(value: Any, name: str) -> None:
    """Raise AccessDenied if a peer of such a protocol may not have a special method called.

    Classes have those of their metaclasses: ``cls[...]`` runs no ``__class_getitem__``. What has
    no ``__iter__`` is iterated by its items.
    """
    kind = type(through_proxy(value))
    if name == "__iter__" and find(ABSENT, name, kind) is MISSING:
        name = "__getitem__"
    if name == "__getitem__" and issubclass(kind, type) and find(ABSENT, name, kind) is MISSING:
        raise _denied(name, "classes are not subscripted")
    decide(_is_never_proxy, _SPECIAL, value, name, "allow_getattr")


def exact_name(name: Any) -> str:
    """Return the name that a peer sent as a str, or as bytes of UTF-8."""
    if type(name) is bytes:
        try:
            name = str(name, "utf-8")
        except UnicodeDecodeError as error:
            raise AccessDenied(f"expected an attribute name in UTF-8, got {error}") from None
    elif type(name) is not str:
        raise TypeError(f"attribute name must be a string, got {type(name).__name__}")
    if len(name) > MAX_NAME:
        raise AccessDenied(
            f"expected an attribute name of at most {MAX_NAME} characters, got {len(name)}"
        )
    return str(name)


_DONE: Final = {"allow_getattr": "read", "allow_setattr": "set", "allow_delattr": "deleted"}
_AIMS: Final = {"allow_setattr": " to set it", "allow_delattr": " to delete it"}


def _denied(name: str, reason: str = "", perm: str = "allow_getattr") -> AccessDenied:
    """Return the error for an access; RPyC's programs know how its text begins.

    Args:
        perm: the key of the master switch for what the peer wants to do.
    """
    aim = _AIMS.get(perm, "")
    return AccessDenied(f"cannot access {name[:MAX_NAME]!r}{aim}" + (reason and f": {reason}"))


def _switched_off(
    is_proxy: Callable[[Any], bool], settings: Settings, obj: Any, name: str, perm: str
) -> AccessDenied:
    """Return the error for an access of a kind that is switched off for all names."""
    if name[:1] == "_" and not _rule(is_proxy, settings, obj, name):
        return _denied(name, perm=perm)
    return _denied(name, f"no name is {_DONE[perm]} here (configuration key {perm!r})", perm)


def _refusal(
    is_proxy: Callable[[Any], bool], settings: Settings, obj: Any, name: str, perm: str
) -> AccessDenied:
    """Return the error for a name that no rule allows, with the row of the table if there is one.

    Where public names are not read, the reason says what would let one through; it is the same for
    every object, so that it tells nothing about this one.
    """
    if name[:1] == "_" or name in INTERNALS or is_proxy(obj):
        return _denied(name, perm=perm)
    if not settings["allow_public_attrs"]:
        keys = "configuration key 'allow_public_attrs'"
        exposed = repr(settings["exposed_prefix"] + name[:MAX_NAME])
        if settings["allow_exposed_attrs"] and settings["exposed_prefix"]:
            keys = f"name it {exposed}, or {keys}"
        elif settings["exposed_prefix"]:
            keys = f"configuration key 'allow_exposed_attrs' for {exposed}, or {keys}"
        return _denied(name, f"public names are not {_DONE[perm]} here ({keys})", perm)
    row = _not_public(obj, name)
    if row is None:
        return _denied(name, perm=perm)
    return _denied(
        name,
        f"it leads further than {describe(type(obj))} (configuration key 'allow_ladders')",
        perm,
    )


# -- calls


def check_call(obj: Any, args: Iterable[Any], kwargs: Iterable[tuple[Any, Any]] = ()) -> None:
    """Raise AccessDenied if a peer that may not do everything may not call ``obj``.

    What is not a function of the program is not given ladders to call, either: ``list.sort`` and
    the like would call them.

    Args:
        args, kwargs: what the peer sent: values, and pairs of a name and a value.
    """
    func = obj.__func__ if type(obj) is MethodType else obj
    if type(func) is FunctionType and func.__module__ not in TOOLS:
        return
    row = ladder(obj, args)
    if row is not None:
        raise _not_called("call", obj)
    for arg in (*args, *(value for _, value in kwargs)):
        if id(type(arg)) not in _PLAIN and _may_lead(type(arg)):
            _check_passed(arg)


def _may_lead(kind: type) -> bool:
    """Return whether an object of a type, or what it holds, may be refused to be passed on."""
    facts = facts_of(kind)
    return facts.is_native or facts.passes or _may_be_ladder(kind)


def _may_be_ladder(kind: type) -> bool:
    facts = facts_of(kind)
    return (
        kind is FunctionType
        or facts.is_called_in_c
        or facts.calls is not None
        or is_wrapper(kind)
        or (type(kind) is not type and leads_to_memory(kind))
    )


def _check_passed(arg: Any) -> None:
    """Raise AccessDenied for a ladder, or for one in a container, however deep."""
    seen: set[int] = set()
    left = [arg]
    while left:
        one = left.pop()
        kind = type(one)
        facts = facts_of(kind)
        if _may_be_ladder(kind) and ladder(one) is not None:
            raise _not_called("pass on", one)
        if (facts.is_native or facts.passes) and id(one) not in seen:
            seen.add(id(one))
            parts = members(one)
            # A container has many items and few types.
            kinds = dict(zip(map(id, map(type, parts)), map(type, parts)))
            looked_at = {
                key for key, each in kinds.items() if key not in _PLAIN and _may_lead(each)
            }
            if looked_at:
                left += [part for part in parts if id(type(part)) in looked_at]


def ladder(obj: Any, args: Iterable[Any] = ()) -> Ladder | None:
    """Return the row of the table by which calling ``obj`` is refused; None if it may be called.

    Runs no code of ``obj``.

    Args:
        args: what it is called with.
    """
    for _ in range(MAX_WRAPPED):
        kind = type(obj)
        if kind is FunctionType:
            return _ladder_function(obj)
        if facts_of(kind).is_function:
            return _ladder_builtin(obj)
        if kind is MethodWrapperType:
            if obj.__name__ != "__call__":
                return _WRAPPERS if obj.__name__ in UNREACHABLE else None
            obj = obj.__self__
        elif id(kind) in UNBOUND:
            return _ladder_descriptor(obj, args)
        elif issubclass(kind, type):
            return _ladder_class(obj)
        else:
            row = _refused_by(mro_of(kind), "__call__", False)
            if row is not None:
                return row
            step = step_into(obj)
            if step is not None:
                obj, more, _ = step
                args = (*more, *args)
            elif is_wrapper(kind):  # made into a method when it is read
                obj = unwrapped(obj)
            else:
                return None
    return _WRAPPERS


def _ladder_function(func: Any) -> Ladder | None:
    module, name = func.__module__, func.__qualname__
    if module not in TOOLS:
        return None
    row = _CALLS.get(f"{module}.{name}")
    if row is None and "." in name:
        kind, _, method = name.rpartition(".")
        return _refuses(f"{module}.{kind}", method)
    return row or _row_of_tools(module)


def _ladder_builtin(func: Any) -> Ladder | None:
    owner, name = func.__self__, func.__name__
    if is_of_module(func):
        module = func.__module__
        return _CALLS.get(f"{module}.{name}") or _row_of_tools(module)
    if name in UNREACHABLE:
        return _WRAPPERS
    if issubclass(type(owner), str) and name in ("format", "format_map"):
        return None if _looks_nothing_up(owner) else _FORMATS
    return _refused_by(mro_of(type(owner)), name, False)


def _ladder_descriptor(method: Any, args: Iterable[Any]) -> Ladder | None:
    name, owner = method.__name__, method.__objclass__
    if name in UNREACHABLE or name == "__call__":
        return _WRAPPERS
    if owner is str and name in ("format", "format_map"):
        text = next(iter(args), None)
        return None if type(text) is str and _looks_nothing_up(text) else _FORMATS
    return _refused_by(mro_of(owner), name, False)


def _ladder_class(cls: type) -> Ladder | None:
    mro = mro_of(cls)
    if is_among(type, mro):
        return _METACLASSES
    if type(cls) is not type and leads_to_memory(cls):
        return _MEMORY
    for base in mro:
        row = _CALLS.get(full_name(base))
        if row is not None:
            return row
    return _row_of_tools(module_of(cls), is_among(BaseException, mro))


def _row_of_tools(module: Any, is_error: bool = False) -> Ladder | None:
    """Return the row of a module whose functions and classes are not called."""
    if type(module) is not str or module in _FREELY_CALLED:
        return None
    row = None if is_error else _CALLABLES_OF.get(module)
    return row or _row_of_module(module)


def _looks_nothing_up(text: str, depth: int = 0) -> bool:
    """Return whether a format text names no attribute and no item of what it formats."""
    try:
        for _, field, spec, _ in Formatter().parse(text):
            if field is not None and ("." in field or "[" in field):
                return False
            if spec and "{" in spec and (depth or not _looks_nothing_up(spec, depth + 1)):
                return False
    except ValueError:
        return False
    return True


def _not_called(verb: str, obj: Any) -> AccessDenied:
    return AccessDenied(
        f"cannot {verb} {describe(obj)}: through it a peer reaches more than was exported "
        "(export a function of your own that checks its arguments, or set the configuration key "
        "'allow_ladders')"
    )


def describe(obj: Any) -> str:
    """Return what an object is called, in an error or a warning; runs no code of it."""
    if issubclass(type(obj), type):
        return full_name(obj)
    if type(obj) is FunctionType or facts_of(type(obj)).is_function:
        owner = getattr(obj, "__self__", None)
        return f"{obj.__module__ or type(owner).__name__}.{obj.__qualname__}"
    if issubclass(type(obj), ModuleType):
        return f"module {instance_dict(obj).get('__name__')}"
    inner = through_proxy(unwrapped(obj))
    if inner is not obj:
        return f"{type(obj).__name__} of {describe(inner)}"
    return f"an object of class {full_name(type(obj))}"


# -- what is exported


def risk(value: Any) -> Ladder | None:
    """Return the row of the table that a value falls under, if a service should not export it.

    Runs no code of ``value``.
    """
    value = through_proxy(value)
    kind = type(value)
    if issubclass(kind, ModuleType):
        return _ladder_module(value) or _ANY_MODULE
    row = ladder(value)
    if row is None and type(kind) is not type and leads_to_memory(kind):
        row = _MEMORY
    if row is None:
        mro = mro_of(value if issubclass(kind, type) else kind)
        known = (_NAMES.get(full_name(base)) for base in mro)
        row = next((one for one in known if one is not None and not one.is_usual), None)
    return row or _costly(value)


def _costly(value: Any) -> Ladder | None:
    """Return the row of what computes for long: a function, a class or an instance."""
    for _ in range(MAX_WRAPPED):
        step = step_into(value)
        if step is None:
            break
        value = step[0]
    if type(value) is FunctionType:
        names = [f"{value.__module__}.{value.__qualname__}"]
        names.append(names[0].rpartition(".")[0])  # of a method: its class
    else:
        kind = type(value)
        names = [full_name(base) for base in mro_of(value if issubclass(kind, type) else kind)]
    return next((_COSTLY[name] for name in names if name in _COSTLY), None)


def is_tool(value: Any) -> bool:
    """Return whether a value falls under a row of the table, other than as a usual module."""
    return risk(value) not in (None, _ANY_MODULE)


def exported_ladders(
    is_proxy: Callable[[Any], bool], settings: Settings, root: Any, depth: int = 3
) -> Iterator[tuple[str, Any, Ladder]]:
    """Yield path, value and row of what ``root`` and the objects in it export and should not.

    Runs no code of ``root``.

    Args:
        root: an object, or the class of one that is not at hand.
        depth: how many classes, objects and containers deep is looked.
    """
    if settings["allow_all_attrs"] or settings["allow_ladders"]:
        return
    seen: set[int] = set()
    level = [("", root)]
    for _ in range(depth + 1):
        following = []
        for path, exported in level:
            obj = through_proxy(exported)
            if is_proxy(obj) or id(obj) in seen or len(seen) > _MAX_LOOKED_AT:
                continue
            seen.add(id(obj))
            for name, value in _exported(is_proxy, settings, obj):
                full = f"{path}.{name}" if path and name[:1] != "[" else path + name
                row = risk(value)
                if row is not None:
                    yield full, value, row
                elif id(type(value)) not in _PLAIN:
                    following.append((full, value))
        level = following


def _exported(
    is_proxy: Callable[[Any], bool], settings: Settings, obj: Any
) -> Iterator[tuple[str, Any]]:
    """Yield names and values of attributes and items that a peer could get of an object.

    Of a class those are yielded that its instances have.
    """
    is_class = issubclass(type(obj), type)
    kind, holder = (obj, ABSENT) if is_class else (type(obj), obj)
    names = {name for base in mro_of(kind) for name in dict_of(base)} | {*instance_dict(holder)}
    for name in sorted(name for name in names if type(name) is str):
        got = reachable(is_proxy, settings, holder, name, kind if is_class else None)
        if got is not None and got[2] is not SAFE and got[0] == name:
            yield name, got[1]
    if not is_class:
        yield from contents(obj, _MAX_ITEMS)


def contents(obj: Any, limit: int) -> Iterator[tuple[str, Any]]:
    """Yield names (``[3]``) and values of the first items of a container.

    Runs no code of its class.

    Keys of a dict that are objects are items as well, called ``[...]`` like what has no name.
    """
    mro = mro_of(type(obj))
    if is_among(dict, mro):
        for key, value in [*islice(dict.items(obj), limit)]:
            is_plain = id(type(key)) in _PLAIN
            if not is_plain:
                yield "[...]", key
            yield (f"[{key!r:.60}]" if is_plain else "[...]"), value
        return
    kinds: tuple[Any, ...] = (list, tuple, deque, set, frozenset)
    for kind in (one for one in kinds if is_among(one, mro)):
        is_ordered = kind is not set and kind is not frozenset
        for index, value in enumerate([*islice(kind.__iter__(obj), limit)]):
            yield (f"[{index}]" if is_ordered else "[...]"), value


_MAX_LOOKED_AT: Final = 1000  # objects, for a warning at start
_MAX_ITEMS: Final = 100  # of each container among them
_PLAIN: Final = frozenset(
    map(id, (str, bytes, int, float, complex, bool, type(None), type(...), range, slice))
)
"""Types of values that lead nowhere, and whose ``repr`` runs no code of the program."""

_REFUSING_ITEMS: Final = WEAK_PROXIES.union(map(id, _SUBSCRIBED.values()))
"""Types of objects whose items may be refused, besides those of ctypes: these have metaclasses."""
