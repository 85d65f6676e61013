"""Takes each fix away and sees its test fail: ``python -m tests.support.mutations [CASE ...]``.

A mutation is one replacement in the sources. The tests named with it run on a mutated copy and must
fail there; they have passed on the unchanged one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Mutation(NamedTuple):
    """One fix, taken away."""

    case: str
    file: str
    old: str
    new: str
    test: str
    impl: str = "python"


FRAMES, STATE = "tests/faults/test_frames.py", "tests/faults/test_state.py"
GATE, EXCEPTIONS = "tests/faults/test_gate.py", "tests/faults/test_exceptions.py"
POLICY, DEFAULTS = "tests/protocol/test_policy.py", "tests/integration/test_defaults.py"
SYSTEM, SSH = "tests/interop/test_started_by_the_system.py", "tests/interop/test_ssh.py"
SERVERS, REGISTRY = "tests/integration/test_servers.py", "tests/integration/test_registry.py"
SCHEDULES = "tests/schedules/test_schedules.py::test_scenario"
WAITS, THREADS = "tests/faults/test_waits.py", "tests/faults/test_threads.py"
HOUSEKEEPING = "tests/faults/test_housekeeping.py"
NETWORK, TLS = "tests/faults/test_network.py", "tests/faults/test_tls.py"
AFFINITY = "tests/faults/test_affinity.py"
ADAPTERS_AFFINITY = "tests/faults/test_affinity_adapters.py"

LADDERS, TARGETS = "tests/attacks/test_ladders.py", "tests/attacks/test_targets.py"
ADAPTERS = "tests/faults/test_adapters.py"
SEXP, ETF = "tests/attacks/test_sexp.py", "tests/attacks/test_etf.py"
CALLABLES = "tests/attacks/test_c_callables.py"
FOREIGN_MEMORY = "tests/attacks/test_foreign_memory.py"
HANDLES, GUARDS = "tests/attacks/test_adapter_handles.py", "tests/attacks/test_c_guards.py"
CLASSES = "tests/attacks/test_classes.py"
MEMORY, HASHES = "tests/attacks/test_memory.py", "tests/attacks/test_hashes.py"
EXIT, CHILDREN = "tests/faults/test_exit.py", "tests/faults/test_children.py"
SNAPSHOTS = "tests/attacks/test_snapshots_bounded.py"
GARBAGE = "tests/faults/test_garbage.py"
FINALIZERS, WAKEUPS = "tests/faults/test_finalizers.py", "tests/faults/test_wakeups.py"
MANY = "tests/faults/test_many_at_once.py"
QUEUED, LIMITS = "tests/attacks/test_queued.py", "tests/attacks/test_limits_name_their_key.py"

SETTINGS = "tests/unit/test_settings.py"
ANNOTATIONS = "tests/attacks/test_exposes_annotations.py"

MUTATIONS = [
    Mutation(
        "126",
        "tools/exposes.py",
        "_walkable(result, subject.parts)",
        "_walkable(result)",
        f"{ANNOTATIONS}::test_case_126_annotations_are_followed",
    ),
    Mutation(
        "126",
        "cli/exposes.py",
        "status = 1 if options.strict else status",
        "status = status",
        f"{ANNOTATIONS}::test_case_126_unknown_results_fail_if_wanted",
    ),
    Mutation(
        "125",
        "core/config.py",
        'made[key] = settings.checked(f"{where}[{key!r}]", kind, value)',
        "made[key] = value",
        f"{SETTINGS}::test_case_125_a_text_is_no_flag",
    ),
    Mutation(
        "125",
        "utils/base_server.py",
        "        check_arguments(ARGUMENTS, locals())\n",
        "",
        f"{SETTINGS}::test_case_125_wrong_arguments_of_servers",
    ),
    Mutation(
        "3",
        "wire/framing.py",
        "hint = None if self._in_use else _foreign_protocol(bytes(header))",
        "hint = None",
        f"{ADAPTERS}::test_case_3_other_protocols",
    ),
    Mutation(
        "51",
        "epc/answers.py",
        "        except Exception:  # of the error's own methods\n",
        "        except ZeroDivisionError:\n",
        f"{ADAPTERS}::test_cases_22_32_49_51_56_errors_are_answers",
    ),
    Mutation(
        "18",
        "link/streams/pipe.py",
        "if _same_connection(2, outgoing):",
        "if False:",
        f"{SYSTEM}::test_inetd_and_what_is_printed",
    ),
    Mutation(
        "36",
        "utils/registry_server.py",
        "if self._rate.allows(host) else None",
        "if True else None",
        f"{REGISTRY}::test_answers_are_small_and_few",
    ),
    Mutation(
        "36",
        "utils/registry_server.py",
        "    if len(answer) <= limit:",
        "    if True:",
        f"{REGISTRY}::test_answers_are_small_and_few",
    ),
    Mutation(
        "36",
        "utils/registry_messages.py",
        "not hmac.compare_digest(code, right)",
        "False",
        f"{REGISTRY}::test_nobody_else_is_answered",
    ),
    Mutation(
        "36",
        "utils/registry_messages.py",
        "            if nonce in self._seen or",
        "            if",
        f"{REGISTRY}::test_seals",
    ),
    Mutation(
        "73",
        "utils/base_server.py",
        "except (RuntimeError, OSError) as error:",
        "except KeyError as error:",
        f"{SERVERS}::test_no_thread_to_be_had",
    ),
    Mutation(
        "82",
        "link/listener.py",
        "        os.chmod(path, mode)\n",
        "        os.chmod(path, 0o755)\n",
        f"{SERVERS}::test_unix_socket",
    ),
    Mutation(
        "82",
        "link/listener.py",
        "and _inode(self._path) == self._inode",
        "",
        f"{SERVERS}::test_unix_socket_of_somebody_else",
    ),
    Mutation(
        "83",
        "utils/zerodeploy.py",
        "status, self._words.get(), limit)",
        'status, "", limit)',
        f"{SSH}::test_no_python {SSH}::test_changed_host_key",
    ),
    Mutation(
        "83",
        "far/bootstrap.py",
        "shutil.rmtree(folder, ignore_errors=True)",
        "pass",
        f"{SSH}::test_client_that_is_killed",
    ),
    Mutation(
        "1",
        "link/receiving.py",
        'closed by peer") if framer.idle else',
        'closed by peer") if True else',
        f"{FRAMES}::test_case_1_truncated",
    ),
    Mutation(
        "2",
        "wire/framing.py",
        "not 0 < length <= self.max_frame_size",
        "not 0 < length",
        f"{FRAMES}::test_case_2_huge_length",
    ),
    Mutation(
        "2",
        "wire/framing.py",
        " or length > self.max_first_frame_size",
        "",
        f"{FRAMES}::test_case_2_the_first_frame_is_bounded_more",
    ),
    Mutation(
        "3",
        "wire/framing.py",
        "hint = _foreign_protocol(header)",
        "hint = None",
        f"{FRAMES}::test_case_3_other_protocols",
    ),
    Mutation(
        "4",
        "wire/framing.py",
        "not 0 < length <= self.max_frame_size",
        "not length <= self.max_frame_size",
        f"{FRAMES}::test_cases_4_5_6_8_malformed_frames",
    ),
    Mutation(
        "5",
        "wire/framing.py",
        "if source[stop] != 0x0A:",
        "if False:",
        f"{FRAMES}::test_cases_4_5_6_8_malformed_frames",
    ),
    Mutation(
        "6",
        "wire/framing.py",
        "if flag > 1 or not 0",
        "if not 0",
        f"{FRAMES}::test_cases_4_5_6_8_malformed_frames",
    ),
    Mutation(
        "7",
        "wire/framing.py",
        "inflater.decompress(packed, min(limit + 1, _PIECE))",
        "inflater.decompress(packed)",
        f"{FRAMES}::test_case_7_bomb",
    ),
    Mutation(
        "7",
        "wire/framing.py",
        "if self.compress and size <= MAX_INFLATED_SIZE and _pays(payload):",
        "if self.compress and _pays(payload):",
        f"{FRAMES}::test_case_7_the_sender_keeps_to_the_rule",
    ),
    Mutation(
        "8",
        "wire/framing.py",
        "if not inflater.eof or inflater.unused_data:",
        "if False:",
        f"{FRAMES}::test_cases_4_5_6_8_malformed_frames",
    ),
    Mutation(
        "9",
        "core/dialects.py",
        "    def _check_end(payload: bytes, position: int) -> None:\n        if position",
        "    def _check_end(payload: bytes, position: int) -> None:\n        if False and position",
        f"{FRAMES}::test_cases_9_to_14_malformed_values",
    ),
    Mutation(
        "10",
        "core/_brine_py.py",
        'raise MalformedValue(f"unknown brine tag {tag:#04x}")',
        "return None, position",
        f"{FRAMES}::test_cases_9_to_14_malformed_values",
    ),
    Mutation(
        "11",
        "core/_brine_py.py",
        "if len(stack) >= max_depth or len(stack) - frail > MAX_DEPTH:",
        "if False:",
        f"{FRAMES}::test_cases_9_to_14_malformed_values",
    ),
    Mutation(
        "12",
        "core/_brine_py.py",
        '            if size > end - position:\n                raise MalformedValue(f"tuple',
        '            if False:\n                raise MalformedValue(f"tuple',
        f"{FRAMES}::test_cases_9_to_14_malformed_values",
    ),
    Mutation(
        "13",
        "core/_brine_py.py",
        "if size > max_digits + 1:",
        "if False:",
        f"{FRAMES}::test_cases_9_to_14_malformed_values",
    ),
    Mutation(
        "13",
        "core/_brine_py.py",
        'digits = to_decimal(value).encode("ascii")',
        'digits = str(value).encode("ascii")',
        f"{FRAMES}::test_case_13_sending_large_integers",
    ),
    Mutation(
        "14",
        "core/_brine_py.py",
        'str(data[start:stop], "utf-8", "surrogatepass")',
        'str(data[start:stop], "utf-8", "replace")',
        f"{FRAMES}::test_case_14_edges {FRAMES}::test_cases_9_to_14_malformed_values",
    ),
    Mutation(
        "15",
        "link/receiving.py",
        "elif self.clock is None or payloads:",
        "elif False:",
        f"{FRAMES}::test_case_15_slow_frame",
    ),
    Mutation(
        "15",
        "link/admission.py",
        "timeout = self.auth_timeout if logs_in else None",
        "timeout = None",
        f"{DEFAULTS}::test_slow_authentication",
    ),
    Mutation(
        "15",
        "link/admission.py",
        "victim = self._make_place(key)",
        "victim = None",
        f"{DEFAULTS}::test_silent_clients_are_bounded",
    ),
    Mutation(
        "16",
        "wire/framing.py",
        "            self._buffer += source[position:]",
        "            self._buffer += source[position : position + 1000]",
        f"{FRAMES}::test_case_16_any_split",
    ),
    Mutation(
        "17",
        "core/dialects.py",
        '    raise MalformedValue(\n        f"expected a message of RPyC 5.x',
        "    return Dialect(6, False)\n    raise MalformedValue(\n"
        '        f"expected a message of RPyC 5.x',
        f"{FRAMES}::test_case_17_unknown_dialect",
    ),
    Mutation(
        "19",
        "wire/session.py",
        "if self.pending.unknown <= self._max_unknown:",
        "if True:",
        f"{STATE}::test_case_19_unknown_and_double_answers",
    ),
    Mutation(
        "19",
        "wire/pending.py",
        "        self._entries[id_] = ABANDONED",
        "        del self._entries[id_]",
        f"{STATE}::test_case_19_late_answers_are_expected",
    ),
    Mutation(
        "20",
        "core/dialects.py",
        "if id_ in serving:",
        "if False:",
        f"{STATE}::test_case_20_reused_number",
    ),
    Mutation(
        "21",
        "core/dialects.py",
        'raise MalformedValue(f"expected message type 1, 2 or 3, got {kind}")',
        "return (CAST, None)",
        f"{STATE}::test_case_21_message_type",
    ),
    Mutation(
        "22",
        "core/dialects.py",
        "handler = brief(handler)",
        "pass",
        f"{STATE}::test_case_22_unknown_request",
    ),
    Mutation(
        "23",
        "core/dialects.py",
        "args = self._check_object(payload, start, args)",
        "pass",
        f"{STATE}::test_case_23_requests_are_about_lent_objects",
    ),
    Mutation(
        "24",
        "core/vinegar.py",
        "                one.stack[:] = _without_ours(one.stack)",
        "                pass",
        f"{STATE}::test_case_24_forged_reference",
    ),
    Mutation(
        "25",
        "core/objects.py",
        "self.by_raw: dict[bytes, Export] = {}",
        'self.by_raw: dict[bytes, Export] = globals().setdefault("_all", {})',
        f"{STATE}::test_case_25_object_of_another_connection",
    ),
    Mutation(
        "26",
        "core/objects.py",
        "if entry is None or count < 1:",
        "if entry is None:",
        f"{STATE}::test_case_26_wrong_counts",
    ),
    Mutation(
        "26",
        "core/dialects.py",
        'raise ProtocolError("peer gave back references that it does not hold")',
        "pass",
        f"{STATE}::test_case_26_wrong_counts_of_ours",
    ),
    Mutation(
        "27",
        "core/objects.py",
        "if entry.obj is not self._pinned:",
        "if True:",
        f"{STATE}::test_case_27_the_root_stays",
    ),
    Mutation(
        "28",
        "core/objects.py",
        "                self.by_raw[entry.raw] = self._by_identity[key] = entry\n"
        "            entry.count += 1\n            return",
        "                self.by_raw[entry.raw] = self._by_identity[key] = entry\n"
        "            entry.count = 1\n            return",
        f"{STATE}::test_case_28_give_back_crosses_a_second_sending",
    ),
    Mutation(
        "29",
        "core/objects.py",
        "return (name, number, fresh_id())",
        "return (name, number, id(obj))",
        f"{STATE}::test_case_29_ids_are_not_addresses_and_not_reused",
    ),
    Mutation(
        "30",
        "core/boxing.py",
        'raise MalformedValue(f"expected an id pack (name, int, int), got {brief(content)}")',
        'return ("x", 1, 2)',
        f"{STATE}::test_case_30_malformed_id_pack",
    ),
    Mutation(
        "31",
        "core/dialects.py",
        'return (FAILURE, id_, MalformedValue("the answer names',
        'raise (MalformedValue("the answer names',
        f"{STATE}::test_case_31_answer_with_a_foreign_reference",
    ),
    Mutation(
        "32",
        "core/protocol.py",
        "        except BaseException as error:\n            if frame is not None:",
        "        except LookupError as error:\n            if frame is not None:",
        f"{STATE}::test_case_32_results_that_cannot_be_sent",
    ),
    Mutation(
        "33",
        "core/boxing.py",
        "if len(stack) > self._max_depth:",
        "if False:",
        f"{STATE}::test_case_33_deep_values_to_send",
    ),
    Mutation(
        "34",
        "core/protocol.py",
        "limit = _CLOSE_LIMIT if timeout is None else min(_CLOSE_LIMIT, timeout)",
        "limit = timeout",
        f"{STATE}::test_case_34_closing_on_a_hung_peer",
    ),
    Mutation(
        "34",
        "link/connection.py",
        "        except IndexError:\n            return\n        for entry in entries:",
        "        except IndexError:\n            entries = []\n        for entry in entries:",
        f"{STATE}::test_case_34_closing",
    ),
    Mutation(
        "35",
        "core/objects.py",
        "if held > self._max_objects:",
        "if False:",
        f"{STATE}::test_case_35_objects",
    ),
    Mutation(
        "35",
        "core/dialects.py",
        "if len(serving) > self._max_requests:",
        "if False:",
        f"{STATE}::test_case_35_requests",
    ),
    Mutation(
        "35",
        "link/receiving.py",
        "while self._queued_bytes < self.max_queued and self.ended is None:",
        "while self.ended is None:",
        f"{STATE}::test_case_35_queued_bytes",
    ),
    Mutation(
        "37",
        "lib/access_policy.py",
        " and name not in INTERNALS",
        "",
        f"{GATE}::test_cases_37_38_over_the_wire {POLICY}::test_reading",
    ),
    Mutation(
        "38",
        "core/handlers.py",
        "if exact_name(op) not in COMPARISONS:",
        "if False:",
        f"{POLICY}::test_names_in_other_places",
    ),
    Mutation(
        "38",
        "core/handlers.py",
        '    _of_type(conn, obj, "__iter__")\n',
        "",
        f"{POLICY}::test_fixed_names",
    ),
    Mutation(
        "39",
        "core/handlers.py",
        "if type(name) is str and conn._visible(obj, name)\n",
        "if type(name) is str\n",
        f"{GATE}::test_case_39_what_is_told",
    ),
    Mutation(
        "39",
        "core/handlers.py",
        '    _of_type(conn, obj, "__repr__")\n',
        "",
        f"{POLICY}::test_fixed_names",
    ),
    Mutation(
        "40",
        "lib/access_policy.py",
        "if len(name) > MAX_NAME:\n        raise",
        "if False:\n        raise",
        f"{POLICY}::test_strange_names",
    ),
    Mutation(
        "40",
        "lib/access_policy.py",
        'unicodedata.normalize("NFKC", name) == name',
        "True",
        f"{POLICY}::test_strange_names",
    ),
    Mutation(
        "41",
        "core/access.py",
        "if value is MISSING or args:\n",
        "if True:\n",
        f"{POLICY}::test_asked_once",
    ),
    Mutation(
        "42",
        "core/_brine_py.py",
        "    kind = type(obj)\n    if kind in SIMPLE_TYPES or kind in own_dumps:",
        "    kind = type(obj)\n    if isinstance(obj, str):\n        return True\n"
        "    if kind in SIMPLE_TYPES:",
        "tests/unit/test_brine.py",
    ),
    Mutation(
        "43",
        "lib/access_policy.py",
        'if settings["allow_all_attrs"]:\n        return ALL',
        'if settings["allow_getattr"]:\n        return ALL',
        f"{GATE}::test_case_43_calling_is_for_what_was_given",
    ),
    Mutation(
        "44",
        "core/netref.py",
        '_config["allow_implicit_pickle"]',
        '_config["allow_pickle"]',
        f"{GATE}::test_case_44_no_code_of_the_peer_runs",
    ),
    Mutation(
        "44",
        "core/boxing.py",
        "if netref.is_array_class([pack[0], *full]):",
        "if False:",
        "tests/protocol/test_numpy.py::test_a_restricted_service_gives_the_right_type",
    ),
    Mutation(
        "45",
        "lib/access_policy.py",
        "elif type(name) is not str:",
        "elif not isinstance(name, str):",
        f"{GATE}::test_case_45_a_proxy_is_never_a_text",
    ),
    Mutation(
        "46",
        "core/service.py",
        '    def _rpyc_getattr(self, name: str) -> Any:\n        """Gives the peer',
        '    def _unused(self, name: str) -> Any:\n        """Gives the peer',
        f"{GATE}::test_case_46_a_classic_client_gives_nothing",
    ),
    Mutation(
        "47",
        "utils/classic.py",
        "if not allowed and not COMPAT_RPYC6:",
        "if False:",
        f"{GATE}::test_case_47_explicit_copies",
    ),
    Mutation(
        "48",
        "core/vinegar.py",
        'name.startswith("_") or name in _SKIPPED:\n            continue\n        if any(',
        'name.startswith("_"):\n            continue\n        if any(',
        f"{EXCEPTIONS}::test_case_48_evil_attributes",
    ),
    Mutation(
        "49",
        "core/exception_classes.py",
        "base = BaseException if exits else Exception",
        "base = BaseException",
        f"{EXCEPTIONS}::test_case_49_exits_are_errors",
    ),
    Mutation(
        "49",
        "core/endpoint.py",
        "            return False  # it came from the peer",
        "            pass  # it came from the peer",
        f"{EXCEPTIONS}::test_case_49_an_interrupt_of_the_peer_stays_there",
    ),
    Mutation(
        "50",
        "core/exception_classes.py",
        'full = clean_name(".".join(name))',
        'full = ".".join(name)',
        f"{EXCEPTIONS}::test_case_50_class_names",
    ),
    Mutation(
        "50",
        "core/exception_classes.py",
        "while len(_generic_exceptions_cache) > _CACHE_SIZE:",
        "while False:",
        f"{EXCEPTIONS}::test_case_50_many_classes",
    ),
    Mutation(
        "51",
        "core/vinegar.py",
        "            value = getattr(val, name)\n        except Exception:",
        "            value = getattr(val, name)\n        except KeyError:",
        f"{EXCEPTIONS}::test_case_51_exceptions_that_raise",
    ),
    Mutation(
        "51",
        "core/endpoint.py",
        "return self._codec.encode_failure(id_, vinegar.undescribed(error))",
        "raise",
        f"{EXCEPTIONS}::test_case_51_exceptions_that_raise",
    ),
    Mutation(
        "52",
        "core/vinegar.py",
        "            cls = GenericException\n",
        "            raise\n",
        f"{EXCEPTIONS}::test_case_52_groups",
    ),
    Mutation(
        "53",
        "core/vinegar.py",
        "exc.__cause__ = _load(cause, make)",
        "pass",
        f"{EXCEPTIONS}::test_case_53_notes_and_causes",
    ),
    Mutation(
        "53",
        "core/vinegar.py",
        "if error is None or len(seen) >= _MAX_CHAIN or",
        "if error is None or",
        f"{EXCEPTIONS}::test_case_53_long_chains",
    ),
    Mutation(
        "54",
        "core/vinegar.py",
        "if import_custom_exceptions and name[0] not in sys.modules:",
        "if name[0] not in sys.modules:",
        f"{EXCEPTIONS}::test_case_54_no_import",
    ),
    Mutation(
        "54",
        "lib/modules.py",
        "_names_of(found).get(name)",
        "getattr(found, name, None)",
        f"{EXCEPTIONS}::test_case_54_no_code_of_a_module_runs",
    ),
    Mutation(
        "55",
        "core/vinegar.py",
        '_ADDRESS.sub("", repr(value))',
        "repr(value)",
        f"{EXCEPTIONS}::test_case_55_tracebacks",
    ),
    Mutation(
        "55",
        "core/vinegar.py",
        "if not frame.filename.startswith(_FOLDER)",
        "",
        f"{EXCEPTIONS}::test_case_55_an_error_of_ours_shows_no_frame",
    ),
    Mutation(
        "56",
        "core/vinegar.py",
        "if typ is StopIteration and not val.args:",
        "if typ is StopIteration:",
        f"{EXCEPTIONS}::test_case_56_stop_iteration",
    ),
    Mutation(
        "57",
        "core/endpoint.py",
        "        vinegar.check(raw)\n",
        "",
        f"{EXCEPTIONS}::test_case_57_wrong_shape",
    ),
    Mutation(
        "57",
        "wire/session.py",
        "            self._fail(error)\n",
        "            pass\n",
        f"{EXCEPTIONS}::test_case_57_wrong_shape",
    ),
    Mutation(
        "58",
        "link/connection.py",
        "if (before or in_task) is not None and not has_room():",
        "if False:",
        f"{THREADS}::test_case_58_recursion_between_the_sides",
        "native",
    ),
    Mutation(
        "59",
        "core/protocol.py",
        "elif self._link.serves:",
        "elif False:",
        f"{WAITS}::test_case_59_a_peer_that_does_not_serve",
    ),
    Mutation(
        "60",
        "link/receiving.py",
        "while not self.lock.locked() and self.offered is None:",
        "while False:",
        f"{THREADS}::test_case_60_the_role_is_passed_on",
    ),
    Mutation(
        "61",
        "link/connection.py",
        "            goes_on = self.application.serve_request(id_, target, args)\n",
        "            with housekeeper._thread._lock:\n"
        "                goes_on = self.application.serve_request(id_, target, args)\n",
        f"{THREADS}::test_case_61_two_connections_cannot_block_each_other",
    ),
    Mutation(
        "62",
        "core/protocol.py",
        'if self._config["concurrent_calls"] > 1:',
        "if False:",
        f"{WAITS}::test_case_62_slow_and_fast",
    ),
    Mutation(
        "62",
        "link/housekeeping.py",
        "                    link.serve_instead()\n",
        "                    pass\n",
        f"{WAITS}::test_case_62_65_the_next_call_is_not_delayed",
    ),
    Mutation(
        "63",
        "core/endpoint.py",
        "self._schedule_flush(self._weak)",
        "self.flush_released()",
        f"{THREADS}::test_case_63_garbage_is_collected_in_the_middle_of_everything",
    ),
    Mutation(
        "64",
        "lib/threads.py",
        "daemon=daemons_allowed()",
        "daemon=False",
        f"{THREADS}::test_case_64_at_exit_with_a_hung_peer",
    ),
    Mutation(
        "65",
        "core/protocol.py",
        "        payload = self._cancel(id_)\n",
        "        payload = None\n",
        f"{WAITS}::test_case_65_ctrl_c",
    ),
    Mutation(
        "66",
        "link/sending.py",
        "                self._wait_for_room()\n",
        "                try:\n                    self._wait_for_room()\n"
        "                except BaseException:\n                    queue.clear()\n"
        "                    raise\n",
        f"{WAITS}::test_case_66_interrupted_in_mid_send",
    ),
    Mutation(
        "67",
        "link/interrupted.py",
        "        if code in _OUTSIDE:\n",
        "        if True:\n",
        f"{WAITS}::test_case_67_a_signal_handler_that_asks",
    ),
    Mutation(
        "67",
        "link/connection.py",
        "                me.wake()  # in a signal handler",
        "                pass  # in a signal handler",
        f"{WAITS}::test_case_67_a_signal_handler_beside_a_reader",
    ),
    Mutation(
        "68",
        "link/receiving.py",
        "        landed = self._stream.landed\n",
        "        landed = None\n",
        "tests/faults/test_handlers.py::"
        "test_what_has_landed_before_an_interrupt_is_left_to_the_next_reader",
    ),
    Mutation(
        "69",
        "link/forking.py",
        "        connection.orphan()\n    for reset",
        "        pass\n    for reset",
        f"{THREADS}::test_case_69_fork",
    ),
    Mutation(
        "70",
        "utils/systemd.py",
        "        os.set_inheritable(fd, False)\n",
        "",
        f"{SYSTEM}::test_one_process_for_all",
    ),
    Mutation(
        "71",
        "aio/serving.py",
        "                if id_ == number:\n",
        "                if False:\n",
        f"{THREADS}::test_case_71_served_tasks_are_cancelled",
    ),
    Mutation(
        "71",
        "aio/connection.py",
        "            payload = self._cancel(result.id_)\n",
        "            payload = None\n",
        f"{THREADS}::test_case_71_cancelled_tasks_and_several_loops",
    ),
    Mutation(
        "72",
        "link/housekeeping.py",
        "at_end(housekeeper.end)\n",
        "",
        "tests/faults/test_interpreters.py",
    ),
    Mutation(
        "72",
        "link/connection.py",
        "at_end(_lose_all)\n",
        "",
        "tests/faults/test_interpreters.py",
    ),
    Mutation(
        "74",
        "link/connection.py",
        "        closed.__cause__ = self.error\n",
        "",
        f"{NETWORK}::test_case_74_a_server_that_is_killed",
    ),
    Mutation(
        "75",
        "link/housekeeping.py",
        "return silence > _DEAD * self.interval",
        "return False",
        f"{WAITS}::test_case_75_a_stopped_server",
    ),
    Mutation(
        "75",
        "link/housekeeping.py",
        "    link.application.beat(heart.interval)  # twice",
        "    pass  # twice",
        f"{WAITS}::test_case_75_a_client_that_computes_and_one_that_stops",
    ),
    Mutation(
        "76",
        "link/sending.py",
        "elif patience.expired():",
        "elif False:",
        f"{NETWORK}::test_case_76_a_peer_that_does_not_read",
    ),
    Mutation(
        "77",
        "link/listener.py",
        "if not exhausted(error):",
        "if True:",
        f"{NETWORK}::test_case_77_no_descriptors_left",
    ),
    Mutation(
        "78",
        "link/connection.py",
        "if stream.wait(READ | WRITE, _SLICE) & READ and not self.receiver.pull():",
        "if stream.wait(WRITE, _SLICE) & READ:",
        f"{NETWORK}::test_case_78_neither_side_serves_while_it_sends",
    ),
    Mutation(
        "79",
        "lib/timing.py",
        "return self.tmax is not None and primitives.monotonic() >= self.tmax",
        "return self.tmax is not None and time.time() >= self.tmax",
        f"{NETWORK}::test_case_79_monotonic_clocks_only",
    ),
    Mutation(
        "80",
        "link/streams/dialing.py",
        "_wait(_HEAD_START if self._left else None)",
        "_wait(None)",
        f"{NETWORK}::test_case_80_dead_addresses_first",
    ),
    Mutation(
        "81",
        "link/streams/tls.py",
        "    context.check_hostname = check_hostname and reqs != ssl.CERT_NONE\n",
        "    context.check_hostname = False\n",
        f"{TLS}::test_case_81_what_a_client_refuses",
    ),
    Mutation(
        "81",
        "utils/server.py",
        "        self._begin(spawn, sock)\n",
        "        self._begin(lambda serve: serve(), sock)\n",
        f"{TLS}::test_case_81_handshakes_do_not_hold_others_up",
    ),
    Mutation(
        "84",
        "utils/base_server.py",
        '        self.logger.info("welcome %s", address)\n',
        '        print("welcome", address, file=open("/dev/stderr", "w"), flush=True)\n',
        f"{NETWORK}::test_case_84_logs_that_cannot_be_written",
    ),
    Mutation(
        "85",
        "core/protocol.py",
        "if isinstance(entry, _AsyncResult) and entry.expired:",
        "if False:",
        f"{WAITS}::test_case_85_a_storm_of_timeouts",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "    if row is not None:\n        raise _not_called",
        "    if False:\n        raise _not_called",
        f"{LADDERS}::test_ladders_are_not_called",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "or _not_public(obj, name, kind) is None:\n            return PUBLIC",
        "or True:\n            return PUBLIC",
        f"{LADDERS}::test_names_that_lead_further_are_refused",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        '    if is_module(value):\n        raise _denied(name, "it is a module")',
        "    pass",
        f"{LADDERS}::test_names_that_lead_further_are_refused",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "        if ladder(arg) is not None:",
        "        if False:",
        f"{LADDERS}::test_ladders_are_not_passed_on",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        'if field is not None and ("." in field or "[" in field):',
        "if field is None:",
        f"{LADDERS}::test_ladders_are_not_called",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "return name not in _GUARDED or (name not in UNREACHABLE",
        "return True or (name not in UNREACHABLE",
        f"{LADDERS}::test_no_prefix_makes_an_unreachable_name",
    ),
    Mutation(
        "89",
        "utils/base_server.py",
        "            warn_of_ladders(service, self.protocol_config)\n",
        "",
        f"{LADDERS}::test_a_service_is_warned_once",
    ),
    Mutation(
        "89",
        "erlport/modern/access.py",
        "    access_policy.check_call(func, args, kwargs.items())\n",
        "",
        f"{LADDERS}::test_erlang_calls_no_ladder",
    ),
    Mutation(
        "89",
        "epc/core.py",
        "            check_call(found, ())\n",
        "",
        f"{LADDERS}::test_emacs_reaches_no_ladder",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "    if not rule or (rule is PUBLIC and is_module(value)):",
        "    if not rule:",
        "tests/attacks/test_exposes.py::test_it_agrees_with_what_a_client_reaches",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "elif id(type(value)) not in _PLAIN:\n                    following",
        "elif issubclass(type(value), type):\n                    following",
        f"{LADDERS}::test_what_is_kept_in_objects_is_looked_at",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "    return not any(name in _stored_by(module_of(base)) for base in bases)",
        "    return True",
        f"{LADDERS}::test_what_the_program_keeps_is_its_own",
    ),
    Mutation(
        "89",
        "lib/access_policy.py",
        "or not _is_programs(obj, name, kind):",
        "or True:",
        f"{LADDERS}::test_what_the_program_keeps_is_its_own",
    ),
    Mutation(
        "90",
        "tools/exposes.py",
        "access_policy.contents(obj, _MAX_LOOKED_AT)",
        "access_policy.contents(obj, 5)",
        "tests/attacks/test_exposes.py::test_items_of_every_container_are_looked_at",
    ),
    Mutation(
        "90",
        "cli/exposes.py",
        "except (Exception, SystemExit) as error:",
        "except Exception as error:",
        "tests/attacks/test_exposes.py::test_a_module_that_exits",
    ),
    Mutation(
        "90",
        "core/dialects.py",
        ") and handler in _ON_OBJECTS:",
        ") and handler in ():",
        f"{TARGETS}::test_requests_are_about_exported_objects",
    ),
    Mutation(
        "90",
        "core/chains.py",
        "step[1][0] == chain_steps.VALUE and _is_foreign(self._conn, step[1][1])",
        "False",
        f"{TARGETS}::test_steps_are_about_exported_objects",
    ),
    Mutation(
        "90",
        "core/config.py",
        "repr str format doc enter exit",
        "repr str format doc new enter exit",
        f"{LADDERS}::test_names_that_make_instances_are_in_no_list",
    ),
    Mutation(
        "90",
        "core/handlers.py",
        '        name = "__class_getitem__"\n',
        "        return cls.__class_getitem__\n",
        f"{LADDERS}::test_classes_are_not_subscripted",
    ),
    Mutation(
        "90",
        "core/handlers.py",
        '    module, _, name = _remote_name(exc).rpartition(".")\n    cls = find_exception(',
        '    module, _, name = _remote_name(exc).rpartition(".")\n'
        "    known: Any = getattr(__import__(module), name, None)\n"
        '    if known is not None:\n        return known("left")\n'
        "    cls = find_exception(",
        f"{TARGETS}::test_leaving_a_block_makes_no_exception_of_this_program",
    ),
    Mutation(
        "92",
        "core/_brine_py.py",
        "frail = min(frail, len(stack))",
        "pass",
        f"{MEMORY}::test_nesting_inside_of_a_set_is_bounded_whatever_max_depth_is",
    ),
    Mutation(
        "92",
        "core/snapshot_load.py",
        "elif len(stack) - self._key >= _DEEPEST_KEY:",
        "elif False:",
        f"{SNAPSHOTS}::test_keys_are_not_nested_deeply",
    ),
    Mutation(
        "92",
        "core/snapshot_load.py",
        "self._work -= weight",
        "pass",
        f"{SNAPSHOTS}::test_shared_parts_of_keys_count_each_time",
    ),
    Mutation(
        "92",
        "core/snapshot_checks.py",
        "if check is None or not check(args):",
        "if check is None:",
        f"{SNAPSHOTS}::test_constructors_get_checked_values_only",
    ),
    Mutation(
        "93",
        "lib/hashes.py",
        "    if any(_is_larger(key, most) for key in group):",
        "    if False:",
        f"{HASHES}::test_large_keys_of_one_hash_are_refused",
    ),
    Mutation(
        "94",
        "lib/joining.py",
        "if len(parts) <= _AT_ONCE",
        "if True",
        "tests/attacks/test_memory.py::test_one_odd_item_makes_an_answer_no_more_expensive",
    ),
    Mutation(
        "93",
        "core/_brine_py.py",
        "        check_hashes(inner)\n",
        "",
        f"{HASHES}::test_frozensets_of_one_hash_are_refused",
    ),
    Mutation(
        "93",
        "core/snapshot_load.py",
        "            check_hashes(keys)\n            for key",
        "            for key",
        f"{HASHES}::test_containers_of_snapshots_are_checked",
    ),
    Mutation(
        "93",
        "core/handlers.py",
        '        if type(name) is not str:\n            raise TypeError(f"keywords',
        '        if False:\n            raise TypeError(f"keywords',
        f"{HASHES}::test_keywords_are_texts",
    ),
    Mutation(
        "94",
        "core/dialects.py",
        "if len(payload) > self._unmetered and self.boxer.budget is None:",
        "if False:",
        f"{MEMORY}::test_messages_are_counted_in_boxes_too",
    ),
    Mutation(
        "94",
        "link/calls.py",
        "len(self.known) >= self.most:",
        "len(self.known) >= 10:",
        f"{LIMITS}::test_the_key_of_the_error_changes_the_limit",
    ),
    Mutation(
        "95",
        "wire/framing.py",
        "piece = inflater.decompress(waiting, min(limit + 1 - size, _PIECE))",
        "piece = inflater.decompress(waiting)",
        f"{MEMORY}::test_nothing_is_inflated_beyond_the_limit",
    ),
    Mutation(
        "95",
        "link/receiving.py",
        "            framer.inflates = False\n",
        "",
        f"{MEMORY}::test_frames_are_inflated_when_it_is_their_turn",
    ),
    Mutation(
        "96",
        "link/connection.py",
        "        size = self.queued.weigh(outcome)\n",
        "        size = 0\n",
        f"{QUEUED}::test_what_waits_stays_near_the_limit",
    ),
    Mutation(
        "96",
        "aio/serving.py",
        "size = weight_of((REQUEST, id_, target, args))",
        "size = 0",
        f"{QUEUED}::test_tasks_are_counted",
    ),
    Mutation(
        "109",
        "core/protocol.py",
        "        housekeeper.watch_end(self._link)\n\n    def _boxer_class",
        "\n    def _boxer_class",
        f"{HOUSEKEEPING}::test_case_109_without_a_callback",
    ),
    Mutation(
        "109",
        "link/housekeeping.py",
        "return not self._waits",
        "return False",
        f"{HOUSEKEEPING}::test_case_109_the_first_descriptor_cannot_be_watched",
    ),
    Mutation(
        "109",
        "link/streams/base.py",
        "self._before_close.append(func)",
        "self._before_close = [func]",
        f"{HOUSEKEEPING}::test_case_109_several_may_learn_that_a_stream_is_closed",
    ),
    Mutation(
        "109",
        "link/connection.py",
        "                    self._read_to_the_end()\n",
        "                    self._mark_lost(ConnectionClosed('ended'))\n",
        f"{HOUSEKEEPING}::test_case_109_unread_messages_are_served_first",
    ),
    Mutation(
        "109",
        "link/connection.py",
        "        if self.unbegun and not self._drops:\n            return",
        "        if False:\n            return",
        f"{HOUSEKEEPING}::test_case_109_a_pool_serves_what_is_queued",
    ),
    Mutation(
        "109",
        "link/connection.py",
        "            self._give_out_stash()\n",
        "            pass\n",
        f"{HOUSEKEEPING}::test_case_109_messages_behind_a_call_that_runs",
    ),
    Mutation(
        "109",
        "link/aio.py",
        "if not self.drops and (self._waiting or self._served):",
        "if False:",
        f"{HOUSEKEEPING}::test_case_109_asyncio_serves_what_has_come",
    ),
    Mutation(
        "109",
        "link/housekeeping.py",
        "        self._looked_at = [one for one in self._looked_at if self._is_there(one)]\n",
        "",
        f"{HOUSEKEEPING}::test_case_109_where_the_system_does_not_tell",
    ),
    Mutation(
        "121",
        "core/objects.py",
        "        check_memory(obj)",
        "        pass",
        f"{FOREIGN_MEMORY}::test_case_121_results",
    ),
    Mutation(
        "121",
        "core/foreign_memory.py",
        "            _bytes_of(view)[:] = _bytes_of(copy)",
        "            pass",
        f"{FOREIGN_MEMORY}::test_case_121_a_raw_file_is_read",
    ),
    Mutation(
        "121",
        "core/foreign_memory.py",
        "                copy.release()",
        "                pass",
        f"{FOREIGN_MEMORY}::test_case_121_a_kept_view_is_harmless",
    ),
    Mutation(
        "110",
        "core/protocol.py",
        "            return self._flush_in_thread()\n",
        "            return bool(self._send_at_once(*self._releases()))\n",
        f"{HOUSEKEEPING}::test_case_110_releases_do_not_wait_for_the_peer",
    ),
    Mutation(
        "110",
        "aio/connection.py",
        "        return partial(_flush_soon, self._loop)\n",
        "        return super()._flush_scheduler()\n",
        f"{HOUSEKEEPING}::test_case_110_asyncio_flushes_on_its_loop",
    ),
    Mutation(
        "110",
        "lib/in_worker.py",
        "    except RuntimeError:\n        run(loop.call_soon)\n",
        "    except KeyError:\n        run(loop.call_soon)\n",
        f"{HOUSEKEEPING}::test_case_110_asyncio_needs_no_thread",
    ),
    Mutation(
        "110",
        "link/streams/hangups.py",
        "            epoll.register(fd, EPOLLRDHUP)\n",
        "            epoll.register(fd, EPOLLRDHUP | EPOLLIN)\n",
        f"{HOUSEKEEPING}::test_case_110_nothing_wakes_while_nothing_is_watched",
    ),
    Mutation(
        "115",
        "core/protocol.py",
        "        self._local_objects.dropped = self._dropped\n",
        "",
        f"{FINALIZERS}::test_a_released_object_calls_back",
    ),
    Mutation(
        "115",
        "link/interrupted.py",
        "if first <= frame.f_lineno <= last:",
        "if False:",
        f"{FINALIZERS}::test_garbage_that_asks",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "                self.batch.flush()\n            except ConnectionClosed as error:\n",
        "                self.batch.flush()\n            except ValueError as error:\n",
        f"{WAKEUPS}::test_close_after_a_torn_write",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "        self._make_locks()  # the child",
        "        # the child",
        f"{WAKEUPS}::test_a_forked_child_waits_for_no_lock",
    ),
    Mutation(
        "116",
        "core/objects.py",
        "        self._growing = primitives.Lock()  # guards _counted",
        "        if hasattr(self, '_lock'):\n            return\n"
        "        self._growing = primitives.Lock()  # guards _counted",
        f"{WAKEUPS}::test_a_forked_child_waits_for_no_lock",
    ),
    Mutation(
        "118",
        "link/connection.py",
        "            if self.workers is None or thread == get_ident():\n",
        "            if thread is not None and self._hand(outcome, thread):\n"
        "                pass\n"
        "            elif self.workers is None or thread == get_ident():\n",
        f"{WAKEUPS}::test_a_reader_is_not_handed_a_request",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "            self._dispatch_lock.keep()\n",
        "",
        f"{WAKEUPS}::test_a_slow_dispatch_loses_no_answer",
    ),
    Mutation(
        "116",
        "link/result.py",
        "            self._result.delivered_by = get_ident()\n",
        "            self._result.delivered_by = None\n",
        f"{SCHEDULES}[own_result_class]",
        "native",
    ),
    Mutation(
        "116",
        "link/result.py",
        "            self._result.delivered_by = get_ident()\n",
        "",
        f"{SCHEDULES}[own_result_class_and_the_end]",
        "native",
    ),
    Mutation(
        "116",
        "link/result.py",
        "        self._result.delivered_by = 0\n",
        "",
        f"{SCHEDULES}[own_result_class_in_the_background]",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "                or result.delivered_by is not None\n",
        "",
        f"{SCHEDULES}[own_result_class_in_the_background]",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "(by != 0 or not self.end._ready)",
        "True",
        f"{SCHEDULES}[pool_is_busy_at_the_end]",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "not self.servers or self._must_serve(ident)",
        "not self.servers or ident in self.servers",
        f"{SCHEDULES}[idle_thread_serves_beside_a_waiting_one]",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "(me.roused or len(servers) == 1)",
        "True",
        f"{SCHEDULES}[idle_thread_serves_beside_a_waiting_one]",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "        if busy and self.servers:\n            self.helpers.call(self)\n",
        "",
        f"{SCHEDULES}[callback_waits_for_the_next]",
        "native",
    ),
    Mutation(
        "116",
        "link/connection.py",
        "if self.workers is not None or serves or not self.servers or route:",
        "if True:",
        f"{SCHEDULES}[remote_executor]",
        "native",
    ),
    Mutation(
        "117",
        "link/connection.py",
        "it has ceased to wait\n                    return\n        self.helpers.call(self)\n",
        "it has ceased to wait\n                    return\n",
        f"{WAKEUPS}::test_a_busy_thread_gets_help",
    ),
    Mutation(
        "127",
        "link/backlog.py",
        "self._changed = primitives.Condition()  #",
        "self._changed = primitives.Condition(primitives.Lock())  #",
        f"{GARBAGE}::test_the_backlog_is_interrupted",
    ),
    Mutation(
        "127",
        "lib/connection_threads.py",
        "        if self._lock._is_owned():",
        "        if False:",
        f"{GARBAGE}::test_the_threads_of_asyncio_connections_are_interrupted",
    ),
    Mutation(
        "127",
        "link/connection.py",
        "            THREAD.now = (self, id_, route), in_task  # as call_serving() does\n",
        "            THREAD.now = (self, id_, route), in_task\n"
        "            IN_TASK.set((self, id_, route))\n",
        "tests/faults/test_current_call.py::test_a_served_call_sets_no_variable",
    ),
    Mutation(
        "127",
        "link/helping.py",
        "            outcome, due = self._overdue(link, now)\n",
        "            with self._lock:\n                outcome, due = self._overdue(link, now)\n",
        f"{GARBAGE}::test_a_helper_is_interrupted",
    ),
    Mutation(
        "127",
        "link/housekeeping.py",
        "@holds_the_role\ndef _read_now",
        "def _read_now",
        f"{GARBAGE}::test_the_housekeeping_thread_is_interrupted",
    ),
    Mutation(
        "127",
        "link/connection.py",
        "        yield self.helpers\n",
        "",
        f"{GARBAGE}::test_who_hands_requests_on_is_interrupted",
    ),
    Mutation(
        "127",
        "lib/connection_threads.py",
        "(executor.nests or not self.busy)",
        "executor.nests",
        f"{GARBAGE}::test_a_finalizer_waits_between_two_functions",
    ),
    Mutation(
        "127",
        "link/result.py",
        "        self._waiters.append(waiter)\n"
        "        return self._waiters\n"
        "\n"
        "    def remove_waiter(self, waiter: Waiter) -> None:\n"
        '        """Ends what :meth:`add_waiter` began."""\n'
        "        self._waiters.remove(waiter)\n"
        "\n"
        "    def waiters(self) -> list[Waiter]:\n",
        "        self.__dict__['_waiters'].append(waiter)\n"
        "        return self._waiters\n"
        "\n"
        "    def remove_waiter(self, waiter: Waiter) -> None:\n"
        "        self._waiters.remove(waiter)\n"
        "\n"
        "    def waiters(self) -> list[Waiter]:\n"
        "        self.__dict__\n",
        f"{GARBAGE}::test_a_result_is_looked_at_when_a_wait_begins",
    ),
]

PATHS = "tests/attacks/test_paths.py"
WORK, CURSORS = "tests/attacks/test_work.py", "tests/attacks/test_cursors.py"
FAIR = "tests/attacks/test_aio_fair.py"
REGISTRIES = "tests/attacks/test_registry_attacks.py"
CERTIFICATES = "tests/attacks/test_certificates_attacks.py"
LOGINS = "tests/attacks/test_login_attacks.py"
DOOR = "tests/attacks/test_door.py"
SEXP, ETF = "tests/attacks/test_sexp.py", "tests/attacks/test_etf.py"
HANDLES = "tests/attacks/test_adapter_handles.py"

MUTATIONS += [
    Mutation(
        "91",
        "lib/safe_paths.py",
        '    if "/" in name or "\\\\" in name:',
        "    if False:",
        f"{PATHS}::test_names_do_not_lead_out_of_the_folder",
    ),
    Mutation(
        "91",
        "lib/safe_paths.py",
        "os.path.islink(path)",
        "False",
        f"{PATHS}::test_links_are_not_written_through",
    ),
    Mutation(
        "91",
        "core/chain_requests.py",
        "type(outcome[1]) is not int or outcome[1] not in",
        "outcome[1] not in",
        f"{PATHS}::test_outcomes_of_chains_are_exact",
    ),
    Mutation(
        "91",
        "core/read_ahead.py",
        "type(part) in allowed",
        "isinstance(part, allowed)",
        f"{PATHS}::test_chunks_of_containers_are_exact",
    ),
    Mutation(
        "102",
        "utils/registry_messages.py",
        "(_SEALED, direction, when, nonce, content))",
        "(_SEALED, when, nonce, content))",
        f"{REGISTRIES}::test_seals_cover_direction_time_and_nonce",
    ),
    Mutation(
        "102",
        "utils/registry_messages.py",
        "checked_name(pair[0]), checked_port(pair[1])",
        "checked_name(pair[0]), pair[1]",
        f"{REGISTRIES}::test_answers_of_another_shape_are_silence",
    ),
    Mutation(
        "103",
        "utils/registry_server.py",
        "if share + count > self.MAX_ENTRIES_PER_HOST:",
        "if False:",
        f"{REGISTRIES}::test_one_address_does_not_take_all_the_room",
    ),
    Mutation(
        "103",
        "utils/registry_server.py",
        "if greediest is None or share + 1 >= others[greediest]:",
        "if True:",
        f"{REGISTRIES}::test_when_all_is_full_the_greediest_makes_room",
    ),
    Mutation(
        "103",
        "utils/registry_messages.py",
        "or not name.isprintable()",
        "or False",
        f"{REGISTRIES}::test_names_are_printable_and_ports_are_ports",
    ),
    Mutation(
        "104",
        "utils/certificates.py",
        '.rstrip(". ") == _AUTHORITY',
        '.rstrip(". ") == ""',
        f"{CERTIFICATES}::test_names_that_are_no_file_names",
    ),
    Mutation(
        "104",
        "lib/safe_paths.py",
        "os.O_CREAT | os.O_EXCL | _PLAIN",
        "os.O_CREAT | os.O_TRUNC | _PLAIN",
        f"{CERTIFICATES}::test_no_pair_is_replaced",
    ),
    Mutation(
        "105",
        "wire/login.py",
        "len(theirs) != _NONCE:",
        "False:",
        f"{LOGINS}::test_a_server_takes_nonces_of_full_length "
        f"{LOGINS}::test_a_client_takes_nonces_of_full_length",
    ),
    Mutation(
        "105",
        "wire/login.py",
        "if hmac.compare_digest(mine, theirs):",
        "if False:",
        f"{LOGINS}::test_a_server_does_not_take_its_own_nonce",
    ),
    Mutation(
        "97",
        "wire/meter.py",
        "        if self.steps > self.limit:\n",
        "        if False:\n",
        f"{WORK}::test_values_of_a_snapshot_are_steps",
    ),
    Mutation(
        "97",
        "core/chains.py",
        "    account.hold(item)\n",
        "",
        f"{WORK}::test_results_of_a_map_are_counted_as_they_are_listed",
    ),
    Mutation(
        "97",
        "link/apart.py",
        "    return size >= LARGE\n",
        "    return False\n",
        f"{FAIR}::test_large_messages_are_decoded_apart",
    ),
    Mutation(
        "98",
        "core/accounts.py",
        "        if self._call is not None and self._call.cancelled:\n",
        "        if False:\n",
        f"{WORK}::test_an_iteration_ends_when_nobody_waits",
    ),
    Mutation(
        "99",
        "core/cursors.py",
        "        del rest[WINDOW:]\n",
        "",
        f"{CURSORS}::test_cursors_that_have_gone_back_keep_little",
    ),
    Mutation(
        "99",
        "core/cursors.py",
        "        self._hold(_SIZE)\n",
        "",
        f"{CURSORS}::test_cursors_are_counted_and_given_back",
    ),
    Mutation(
        "99",
        "aio/serving.py",
        "        if link.full:\n",
        "        if False:\n",
        f"{FAIR}::test_answers_that_wait_are_limited",
    ),
    Mutation(
        "86",
        "lib/stand_ins.py",
        '    _set_abstract(cls, frozenset(["__new__"]))\n',
        "    pass\n",
        f"{CLASSES}::test_case_86_every_way_to_an_instance_is_shut",
    ),
    Mutation(
        "86",
        "lib/stand_ins.py",
        "            found[name] = _instead(name, layout)\n",
        "            pass\n",
        f"{CLASSES}::test_case_86_an_instance_that_is_forced_is_of_no_use",
    ),
    Mutation(
        "86",
        "core/class_proxies.py",
        "not is_among(_home(self, name), program)",
        "True",
        f"{CLASSES}::test_case_86_through_a_public_service_into_a_guarded_one",
    ),
    Mutation(
        "87",
        "core/exception_classes.py",
        "        **hidden(program, layout),\n",
        "",
        f"{CLASSES}::test_case_87_exceptions_run_no_code",
    ),
    Mutation(
        "87",
        "lib/access_policy.py",
        "    if rule is not ALL and issubclass(type(obj), BaseException) and made_from_peer(obj):\n"
        "        return",
        "    if False:\n        return",
        f"{CLASSES}::test_case_87_exceptions_run_no_code",
    ),
    Mutation(
        "87",
        "core/snapshot_load.py",
        "return base._missing_.__func__(cls, value)",
        "return cls(value)",
        f"{CLASSES}::test_case_87_registered_enumerations",
    ),
    Mutation(
        "88",
        "core/snapshot_load.py",
        '    numpy: Any = imported("numpy")\n',
        "    import numpy\n",
        f"{CLASSES}::test_case_88_numpy_is_not_imported",
    ),
    Mutation(
        "88",
        "lib/modules.py",
        "value = _names_of(found).get(name)",
        "value = found.__dict__.get(name)",
        f"{CLASSES}::test_case_88_modules_are_not_asked",
    ),
    Mutation(
        "100",
        "link/admission.py",
        "first = list(islice(clients, _LOOKED_AT))",
        "first = list(clients)[::-1]",
        f"{DOOR}::test_case_100_the_oldest_makes_room[threaded]",
    ),
    Mutation(
        "100",
        "link/admission.py",
        "            return self._lines[crowded]\n",
        "            return self._line\n",
        f"{DOOR}::test_case_100_one_address_pushes_out_its_own",
    ),
    Mutation(
        "100",
        "link/admission.py",
        "        self.spoken = True\n        self.admission.forget(self)\n",
        "        self.spoken = True\n",
        f"{DOOR}::test_case_100_those_who_have_spoken_stay[threaded]",
    ),
    Mutation(
        "100",
        "link/admission.py",
        "        if line is not self._line:\n",
        "        if False:\n",
        f"{DOOR}::test_case_100_the_log_names_the_limit",
    ),
    Mutation(
        "100",
        "link/listener.py",
        "        admission.make_room(error)\n",
        "",
        f"{DOOR}::test_case_100_descriptors_are_taken_from_the_silent[threaded]",
    ),
    Mutation(
        "100",
        "link/admission.py",
        "                    self._take_out(victim)\n                    return victim\n",
        "                    self._take_out(victim)\n                    return None\n",
        f"{DOOR}::test_case_100_silent_clients_are_few_processes",
    ),
    Mutation(
        "100",
        "link/lobby.py",
        "        if _has_frame(link):\n",
        "        if True:\n",
        f"{DOOR}::test_case_100_silent_clients_keep_nobody_out[epc]",
    ),
    Mutation(
        "100",
        "utils/registry_server.py",
        "    except BaseException:\n        sock.close()\n        raise\n\n\nclass UDP",
        "    finally:\n        pass\n\n\nclass UDP",
        f"{DOOR}::test_case_100_a_constructor_that_raises_leaves_no_socket[TCPRegistryServer]",
    ),
    Mutation(
        "101",
        "link/admission.py",
        "            self.admission.change_spare(self, spare)\n",
        "",
        f"{DOOR}::test_case_101_a_login_has_a_deadline[threaded-tls]",
    ),
    Mutation(
        "101",
        "link/admission.py",
        "            if client.cut_off:\n                return False\n",
        "",
        f"{DOOR}::test_case_101_who_comes_late_is_not_served",
    ),
    Mutation(
        "101",
        "utils/forking_server.py",
        "        client.hang_up = partial(self._end_child, pid)\n",
        "        client.hang_up = int\n",
        f"{DOOR}::test_case_101_a_login_has_a_deadline[forking-block]",
    ),
    Mutation(
        "96",
        "link/peer.py",
        "        self.link.queued.total = client.account.add\n",
        "",
        "tests/attacks/test_listener_sum.py::test_requests_in_flight_count[epc]",
    ),
    Mutation(
        "96",
        "erlport/service.py",
        "        self.handles.count_for(client.account.add)\n",
        "",
        "tests/attacks/test_listener_sum.py::test_values_that_erlang_keeps_count",
    ),
    Mutation(
        "101",
        "utils/forking_server.py",
        "        if self._in_a_row <= _IN_A_ROW:\n",
        "        if True:\n",
        f"{DOOR}::test_case_101_a_process_for_few_of_a_crowd",
    ),
    Mutation(
        "106",
        "epc/reader.py",
        "            budget.spend(price)\n            return value, None",
        "            return value, None",
        f"{SEXP}::test_repeated_values_count_each_time",
    ),
    Mutation(
        "106",
        "epc/reader.py",
        "                        spent += price + held\n",
        "",
        f"{SEXP}::test_a_text_takes_no_more_memory_than_is_allowed",
    ),
    Mutation(
        "106",
        "epc/escapes.py",
        "[^}]{0,200}",
        "[^}]*",
        f"{SEXP}::test_time_is_linear",
    ),
    Mutation(
        "106",
        "epc/values.py",
        "        check_hashes(keys)\n",
        "",
        f"{SEXP}::test_keys_of_one_hash_are_refused",
    ),
    Mutation(
        "107",
        "erlport/decoder.py",
        "            left -= prices[tag]\n",
        "",
        f"{ETF}::test_a_term_takes_no_more_memory_than_is_allowed",
    ),
    Mutation(
        "107",
        "erlport/decoder.py",
        "if size > self.max_inflated_size:",
        "if size > max(self.max_inflated_size, 16 * len(data)):",
        f"{ETF}::test_inflation_holds_no_more_than_its_limit",
    ),
    Mutation(
        "107",
        "erlport/maps.py",
        "            check_hashes([key for key, _ in pairs if type(key) in plain_keys])\n",
        "            pass\n",
        f"{ETF}::test_keys_of_one_hash_are_refused",
    ),
    Mutation(
        "107",
        "erlport/decoder.py",
        "position, not funs)",
        "position, True)",
        f"{ETF}::test_time_is_linear",
    ),
    Mutation(
        "108",
        "erlport/modern/instance.py",
        "                check_exported(self.handles, target.function, args)\n",
        "                pass\n",
        f"{HANDLES}::test_values_of_the_peer_have_no_methods",
    ),
    Mutation(
        "108",
        "erlport/modern/handles.py",
        '                self._meter.hold(price, "values that the peer has kept")\n',
        "",
        f"{HANDLES}::test_values_that_are_kept_are_counted",
    ),
    Mutation(
        "108",
        "epc/answers.py",
        "if type(meth) is Symbol or type(meth) is str:",
        "if True:",
        f"{HANDLES}::test_epc_methods_are_named_by_symbols_and_texts",
    ),
    Mutation(
        "92",
        "lib/c_guards.py",
        "    if facts.kind is library.BUFFER:\n        if name",
        "    if False:\n        if name",
        f"{GUARDS}::test_buffers_ask_no_peer",
    ),
    Mutation(
        "92",
        "lib/weights.py",
        "        if depth > deepest:",
        "        if False:",
        f"{GUARDS}::test_deep_tuples_are_not_walked_in_c",
    ),
    Mutation(
        "122",
        "lib/weights.py",
        "    if weight > limit:",
        "    if False:",
        "tests/attacks/test_weights.py::test_cycles_are_walked_as_they_are_shown",
    ),
    Mutation(
        "122",
        "lib/c_guards.py",
        "    _check_weights(guard, [*given, *_values_of(named)])",
        "    _check_weights(guard, given)",
        "tests/attacks/test_counted_items.py::test_what_is_compared_or_shown_is_weighed",
    ),
    Mutation(
        "122",
        "lib/in_flight.py",
        "            work.weigh(answer)",
        "            pass",
        "tests/attacks/test_counted_items.py::test_what_is_compared_or_shown_is_weighed",
    ),
    Mutation(
        "122",
        "lib/library.py",
        " or any(full_name(base) in _SHOWN for base in mro)",
        "",
        "tests/attacks/test_weights.py::test_what_is_shared_weighs_what_it_is_written_out_to",
    ),
    Mutation(
        "123",
        "lib/result_sizes.py",
        "max(_number_work(call, pairs), ",
        "max(0.0, ",
        "tests/attacks/test_result_sizes.py::test_a_result_is_not_made_too_large",
    ),
    Mutation(
        "131",
        "lib/c_guards.py",
        "    if call.takes_iterators:",
        "    if False:",
        "tests/attacks/test_counted_items.py::test_a_peer_passes_no_iterator_without_end",
    ),
    Mutation(
        "131",
        "lib/in_flight.py",
        "        account.count()",
        "        pass",
        "tests/attacks/test_counted_items.py::test_a_peer_passes_no_iterator_without_end",
    ),
    Mutation(
        "91",
        "lib/safe_paths.py",
        "    if _WINDOWS:",
        "    if False:",
        "tests/attacks/test_paths.py::test_names_of_devices_are_refused_on_windows",
    ),
    Mutation(
        "123",
        "lib/result_sizes.py",
        "    if size > limit:",
        "    if False:",
        "tests/attacks/test_result_sizes.py::test_a_result_is_not_made_too_large",
    ),
    Mutation(
        "124",
        "wire/meter.py",
        "                if getrefcount(item) > _REFERENCES:",
        "                if True:",
        "tests/attacks/test_memory.py::test_pricing_takes_no_memory_for_what_is_met_once",
    ),
    Mutation(
        "3",
        "wire/framing.py",
        "; the peer began with {bytes(source[:_SHOWN])!r}",
        "",
        "tests/unit/test_framing.py::test_a_beginning_that_is_no_frame_is_shown",
    ),
    Mutation(
        "111",
        "utils/children.py",
        "        fd = os.dup(file.fileno())\n    except (AttributeError, OSError):  # of a",
        "        raise OSError\n    except (AttributeError, OSError):  # of a",
        f"{SSH}::test_case_111_a_connection_that_is_left_open",
    ),
    Mutation(
        "111",
        "lib/exiting.py",
        "return not self._ended",
        "return True",
        f"{EXIT}::test_case_111_the_end_waits_for_threads_that_write",
    ),
    Mutation(
        "112",
        "utils/children.py",
        '_APART = {"start_new_session": True}',
        "_APART = {}",
        f"{EXIT}::test_case_112_ctrl_c_at_a_prompt_ends_no_child[subproc]",
    ),
    Mutation(
        "112",
        "utils/factory.py",
        "    leave_terminal()\n",
        "",
        f"{EXIT}::test_case_112_ctrl_c_at_a_prompt_ends_no_child[multiprocess]",
    ),
    Mutation(
        "112",
        "utils/forking_server.py",
        "            leave_terminal()  #",
        "            #",
        f"{EXIT}::test_case_112_ctrl_c_cuts_no_call_of_a_forking_server",
    ),
    Mutation(
        "112",
        "cli/rpyc_classic.py",
        "            leave_when_given_up(conn, float(self.grace))\n",
        "",
        f"{EXIT}::test_case_112_a_child_that_was_given_up_ends",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "                    self._copy(data)\n",
        "                    pass\n",
        f"{CHILDREN}::test_case_113_standard_error_of_a_child_is_passed_on",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "line += end[: LINE_LIMIT - len(line)]",
        "line += end",
        f"{CHILDREN}::test_case_113_lines_are_cut",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "            if done:\n                return\n            over.set()",
        "            over.set()",
        f"{CHILDREN}::test_case_113_a_start_that_succeeds_is_not_given_up",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "    if over.is_set():\n",
        "    if over.is_set() and failure:\n",
        f"{CHILDREN}::test_case_113_a_start_that_is_given_up_has_not_succeeded",
    ),
    Mutation(
        "113",
        "utils/factory.py",
        "conn.fetch_root(limit)",
        "conn.root",
        f"{CHILDREN}::test_case_113_a_start_may_take_longer_than_a_call",
    ),
    Mutation(
        "113",
        "aio/opening.py",
        "conn.fetch_root(None)",
        "conn.fetch_root(conn._config['sync_request_timeout'])",
        f"{CHILDREN}::test_case_113_a_start_on_asyncio_may_take_longer_than_a_call",
    ),
    Mutation(
        "113",
        "utils/forking_server.py",
        "            if not self._unserved or (if_cut_off and",
        "            if (if_cut_off and",
        f"{CHILDREN}::test_case_113_two_threads_take_clients_without_a_process",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "        return ExplainedEnd(self._child.epitaph())",
        "        return error",
        f"{CHILDREN}::test_case_113_a_child_that_does_not_start",
    ),
    Mutation(
        "113",
        "cli/quickstart.py",
        "    os.dup2(2, 1)\n",
        "",
        f"{CHILDREN}::test_case_113_what_the_quickstarts_server_prints",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "        timer.start()\n",
        "        pass\n",
        f"{CHILDREN}::test_case_113_a_silent_child",
    ),
    Mutation(
        "113",
        "utils/zerodeploy.py",
        "self._news.wait(self._timeout)",
        "self._news.wait(None)",
        f"{CHILDREN}::test_case_113_each_step_of_a_deployment_is_limited[finding]",
    ),
    Mutation(
        "113",
        "utils/children.py",
        "            if pid not in self._alive:\n",
        "            if False:\n",
        f"{CHILDREN}::test_case_113_a_forking_server_signals_no_stranger",
    ),
    Mutation(
        "92",
        "lib/c_guards.py",
        "            kind.__contains__(table, _Probe(key))\n",
        "            pass\n",
        f"{CALLABLES}::test_keys_of_one_hash_do_not_add_up",
    ),
    Mutation(
        "92",
        "lib/chained.py",
        "        if depth >= DEEPEST:",
        "        if False:",
        f"{CALLABLES}::test_a_chain_is_not_made_level_by_level",
    ),
    Mutation(
        "92",
        "lib/library.py",
        "self.is_function = id(BuiltinFunctionType) in ids",
        "self.is_function = cls is BuiltinFunctionType",
        f"{CALLABLES}::test_methods_that_know_their_class_are_looked_at",
    ),
    Mutation(
        "92",
        "lib/library.py",
        "self.is_function = id(BuiltinFunctionType) in ids",
        "self.is_function = cls is BuiltinFunctionType",
        f"{CALLABLES}::test_ladders_are_methods_that_know_their_class_too",
    ),
    Mutation(
        "92",
        "lib/c_guards.py",
        "    if call.calls_arguments:",
        "    if False:",
        f"{CALLABLES}::test_functions_in_c_are_guarded_wherever_they_are_called",
    ),
    Mutation(
        "92",
        "lib/c_guards.py",
        "    return arg._func if type(arg) is _GuardedCall else source_of(arg)",
        "    return arg",
        f"{CALLABLES}::test_what_keeps_a_function_keeps_the_very_one",
    ),
    Mutation(
        "92",
        "lib/c_guards.py",
        "return facts_of(type(arg)).is_called_in_c and facts_of(arg).is_guarded",
        "return False",
        f"{CALLABLES}::test_keys_do_not_add_up_through_other_functions",
    ),
    Mutation(
        "92",
        "lib/c_guards.py",
        "    _check_link(guard, None, given[call.before :])  # csv.reader makes an iterator\n",
        "",
        f"{CALLABLES}::test_readers_and_named_results_are_not_nested",
    ),
]

MUTATIONS += [
    Mutation(
        "91",
        "core/netref.py",
        'return exact(syncreq(self, consts.HANDLE_HASH), int, "a hash")',
        "return int(syncreq(self, consts.HANDLE_HASH))",
        "tests/attacks/test_answers.py::test_an_answer_of_another_type_is_refused",
    ),
    Mutation(
        "97",
        "core/chains.py",
        "    if type(source) is AsyncItems:\n",
        "    if False:\n",
        "tests/attacks/test_work.py::test_a_map_takes_items_that_are_awaited",
    ),
    Mutation(
        "99",
        "core/accounts.py",
        "            self._schedule_flush(weakref.ref(self))\n",
        "",
        "tests/attacks/test_cursors.py::test_what_an_idle_client_has_dropped_is_free_for_others",
    ),
    Mutation(
        "103",
        "utils/registry_server.py",
        "        self._check_room(_owner(host), len(new))\n",
        "",
        f"{REGISTRIES}::test_all_names_of_a_message_are_registered_or_none",
    ),
    Mutation(
        "129",
        "link/sending.py",
        """            self._torn = True

""",
        """            pass

""",
        "tests/faults/test_interrupts.py::"
        "test_an_interrupted_write_of_a_stream_that_takes_no_notes_ends_both_sides",
    ),
    Mutation(
        "129",
        "link/sending.py",
        "                stream.went = 0\n            else:  # no call in between",
        "            else:  # no call in between",
        "tests/unit/test_sending.py::test_partial_writes",
    ),
    Mutation(
        "129",
        "link/streams/pipe.py",
        "(self.went,) = map(os.write, (self._out,), (data,))",
        "self.went = os.write(self._out, data)",
        "tests/faults/test_interrupts.py::test_an_interrupted_write_leaves_the_connection_usable",
    ),
    Mutation(
        "129",
        "link/sending.py",
        "(taken,) = map(self._role.acquire, AT_ONCE)",
        "taken = self._role.acquire(False)",
        "tests/faults/test_interrupts.py::"
        "test_an_interrupt_after_a_call_leaves_no_role_taken_and_no_byte_lost",
    ),
    Mutation(
        "129",
        "link/receiving.py",
        "        landed = self._stream.landed\n",
        "        landed = None\n",
        "tests/faults/test_handlers.py::"
        "test_what_has_landed_before_an_interrupt_is_left_to_the_next_reader",
    ),
    Mutation(
        "129",
        "lib/interrupts.py",
        "                if value is frame:\n",
        "                if False:\n",
        "tests/faults/test_handlers.py::"
        "test_what_a_handler_raises_reaches_the_caller_and_the_connection_goes_on",
    ),
    Mutation(
        "128",
        "link/aio_peer.py",
        "later, width, kept=1)",
        "later, width, kept=0)",
        f"{ADAPTERS_AFFINITY}::test_plain_functions_run_in_one_thread",
    ),
    Mutation(
        "128",
        "link/aio_peer.py",
        "self._context.run(call_on_loop, current(), func, *args)",
        "call_on_loop(current(), func, *args)",
        f"{ADAPTERS_AFFINITY}::test_the_context_stays",
    ),
    Mutation(
        "128",
        "aio/epc.py",
        "            await self.run(add)\n",
        "            add()\n",
        f"{ADAPTERS_AFFINITY}::test_hooks_of_an_epc_server_run_in_the_thread",
    ),
    Mutation(
        "128",
        "aio/erlang.py",
        "await self.run(partial(next, terms, _END))",
        "next(terms, _END)",
        f"{ADAPTERS_AFFINITY}::test_a_protocol_lives_in_the_thread",
    ),
    Mutation(
        "128",
        "lib/connection_threads.py",
        "thread.idle or (looks and len(self.jobs) == 1)",
        "thread.idle",
        f"{AFFINITY}::test_the_next_function_needs_no_other_thread",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "return not self.needy",
        "return True",
        f"{AFFINITY}::test_a_function_waits_for_a_thread_that_can_be_started",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "            if not self.needy or self._watched:\n                return\n",
        "            return\n",
        f"{AFFINITY}::test_an_end_waits_for_a_thread_that_can_be_started",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "self._context.run(_run, job)",
        "_run(job)",
        f"{AFFINITY}::test_plain_and_async_functions_share_the_context",
    ),
    Mutation(
        "114",
        "lib/contexts.py",
        "self._own.run(_set, self._late.popleft())",
        "self._late.popleft()",
        f"{AFFINITY}::test_a_plain_call_beside_a_task",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "if kept and not threads.wanted:",
        "if False:",
        f"{AFFINITY}::test_threading_local",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "if self.full and not self.strict and self._idle:",
        "if False:",
        f"{AFFINITY}::test_more_connections_than_threads",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "if not first and self._all.strict",
        "if False",
        f"{AFFINITY}::test_strict_affinity",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "all(thread.waits for thread in self.threads)",
        "False",
        f"{AFFINITY}::test_a_callback_that_needs_another_thread_of_the_client",
    ),
    Mutation(
        "114",
        "lib/connection_threads.py",
        "self._active -= 1\n        if self._needy:",
        "if self._needy:",
        f"{AFFINITY}::test_threads_that_wait_for_clients_are_no_fewer",
    ),
    Mutation(
        "114",
        "aio/threads.py",
        "thread: Any = current_thread(self._executor)",
        "thread: Any = None",
        f"{AFFINITY}::test_nested_calls_run_in_the_thread_that_waits",
    ),
    Mutation(
        "114",
        "aio/serving.py",
        "return target[1] is not None and self._session.pending.get(target[1]) is not None",
        "return False",
        f"{AFFINITY}::test_nested_calls_while_no_more_are_taken",
    ),
    Mutation(
        "114",
        "aio/serving.py",
        "self._local_objects.dropped = []\n",
        "self._local_objects.dropped = None\n",
        f"{AFFINITY}::test_finalizers_run_in_the_thread",
    ),
    Mutation(
        "114",
        "aio/serving.py",
        "if may_run_code(entry)]",
        "]",
        f"{AFFINITY}::test_what_has_no_finalizer_takes_no_thread",
    ),
    Mutation(
        "118",
        "link/receiving.py",
        "                if waiter.asleep:\n                    waiter.wake()",
        "                if waiter.asleep:\n                    pass",
        f"{SCHEDULES}[one_waits_for_the_other]",
        "native",
    ),
    Mutation(
        "118",
        "lib/workers.py",
        "            self._changed.notify()\n",
        "            pass\n",
        f"{SCHEDULES}[pool_of_one]",
        "native",
    ),
]

ADAPTER_GUARDS = "tests/attacks/test_adapter_guards.py"
MUTATIONS += [
    Mutation(
        "119",
        "erlport/modern/access.py",
        "    return c_guards.call(guard, func, args, kwargs)",
        "    return func(*args, **kwargs)",
        f"{ADAPTER_GUARDS}::test_case_119_deques_are_not_nested_level_by_level",
    ),
    Mutation(
        "119",
        "erlport/modern/handles.py",
        '    check_method(guard, value, "__getitem__", key)\n',
        "",
        f"{ADAPTER_GUARDS}::test_case_119_items_of_dicts_with_factories_are_keys",
    ),
    Mutation(
        "130",
        "core/objects.py",
        "                        del entry\n",
        "",
        f"{SCHEDULES}[finalizers_ask_in_a_pool]",
        "native",
    ),
    Mutation(
        "130",
        "core/protocol.py",
        "        self._local_objects.dropped = self._dropped\n",
        "",
        f"{SCHEDULES}[finalizers_ask]",
        "native",
    ),
    Mutation(
        "130",
        "link/connection.py",
        "            self._dispatch_lock.keep()\n",
        "",
        f"{SCHEDULES}[own_dispatch]",
        "native",
    ),
    Mutation(
        "130",
        "link/connection.py",
        "it has ceased to wait\n                    return\n        self.helpers.call(self)\n",
        "it has ceased to wait\n                    return\n",
        f"{SCHEDULES}[busy_thread_is_helped]",
        "native",
    ),
    Mutation(
        "130",
        "lib/first_use.py",
        "            with self._lock:\n",
        "            if True:\n",
        f"{SCHEDULES}[one_object_for_all]",
        "native",
    ),
    Mutation(
        "130",
        "lib/first_use.py",
        "values.setdefault(name, make())",
        "values.update({name: make()}) or values[name]",
        f"{SCHEDULES}[one_object_for_all]",
        "native",
    ),
    Mutation(
        "130",
        "link/forking.py",
        "        impl.waiting.after_fork()\n",
        "        pass\n",
        "tests/unit/test_waiting_stress.py::test_children_poll_for_themselves",
        "native",
    ),
]

CONFIGURED = "tests/faults/test_configured.py"
MUTATIONS += [
    Mutation(
        "132",
        "core/cursors.py",
        "most = min(account.left, _COUNTED) or 1",
        "most = _COUNTED",
        f"{CONFIGURED}::test_iterating_with_few_steps",
    ),
    Mutation(
        "132",
        "core/accounts.py",
        "            if first or self.left:\n",
        "            if True:\n",
        f"{CONFIGURED}::test_reading_in_pieces_with_few_steps",
    ),
    Mutation(
        "132",
        "core/accounts.py",
        "        return self.left > 0\n",
        "        return True\n",
        f"{CONFIGURED}::test_reading_in_pieces_with_few_steps",
    ),
    Mutation(
        "132",
        "core/service.py",
        "            except Exception:\n                logger",
        "            except ZeroDivisionError:\n                logger",
        f"{CONFIGURED}::test_hooks_of_a_client",
    ),
    Mutation(
        "132",
        "core/service.py",
        "        except AttributeError as error:\n",
        "        except ZeroDivisionError as error:\n",
        f"{CONFIGURED}::test_classic_names_of_another_service",
    ),
    Mutation(
        "132",
        "aio/serving.py",
        "                    refused(error)\n",
        "                    pass\n",
        f"{AFFINITY}::test_strict_affinity_and_on_connect",
    ),
    Mutation(
        "132",
        "utils/forking_server.py",
        "            finish(conn, self.grace)\n",
        "            pass\n",
        "tests/faults/test_left_over.py",
    ),
    Mutation(
        "132",
        "link/connection.py",
        "if self._mark_lost(error) and isinstance(error, PeerStuck):",
        "if self._mark_lost(error) and False:",
        "tests/faults/test_limits_table.py::test_who_takes_nothing_in_is_cut_off",
    ),
]

LIBRARY = "tests/attacks/test_library_oracle.py"
MUTATIONS += [
    Mutation(
        "131",
        "lib/library.py",
        'return facts.kind is not MAPPING or name == "__ior__"',
        "return False",
        f"{LIBRARY}::test_containers_in_python_take_no_iterator_without_end",
    ),
    Mutation(
        "131",
        "lib/library.py",
        "return 1 if defaultdict in makers else 0",
        "return None",
        f"{LIBRARY}::test_containers_in_python_take_no_iterator_without_end",
    ),
]

REENTERED = "tests/attacks/test_reentered.py"
MUTATIONS += [
    Mutation(
        "120",
        "lib/in_flight.py",
        "                self._begin(before)",
        "                pass",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[csv]",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "                while (clash := use._clash(self._begun_meanwhile())) is not None:",
        "                while (clash := None) is not None:",
        f"{REENTERED}::test_case_120_who_is_asked_sees_who_has_begun_meanwhile",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "            self._wait(*clash, patience, False)",
        "            raise self._refusal(*clash)",
        f"{REENTERED}::test_case_120_other_connections_wait_meanwhile",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "                both_ask = older and",
        "                both_ask = False and",
        f"{REENTERED}::test_case_120_who_has_a_proxy_waits_before_it_begins",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "(other._is_older(self) and self._is_in_circle())",
        "False",
        f"{REENTERED}::test_case_120_a_circle_of_waits_ends",
    ),
    Mutation(
        "120",
        "lib/library.py",
        "            self.holds = _is_holder(cls, mro)",
        "            self.holds = False",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[csv]",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "            self._values += (answer,)",
        "            pass",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[od]",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        '        sorts = self._name == "sort"',
        "        sorts = False",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[od]",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "self._clash(before, self._name in READING)",
        "self._clash(before)",
        f"{REENTERED}::test_keys_of_the_peer_read_other_objects",
    ),
    Mutation(
        "120",
        "lib/library.py",
        "        self.holds = kind in _HOLD or id(self.in_c) in _ALSO_HOLD",
        "        self.holds = kind in CONTAINERS",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[shown]",
    ),
    Mutation(
        "120",
        "lib/library.py",
        "        return (_UNWRAPPING + obj)[0]",
        "        return None",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[shown]",
    ),
    Mutation(
        "120",
        "lib/library.py",
        "    return any(_FIELDS in dict_of(base) for base in mro) or any(",
        "    return any(",
        f"{REENTERED}::test_case_120_c_code_is_not_entered_again[compared]",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "        within = looks_within(self._name, values)",
        "        within = True",
        f"{REENTERED}::test_case_120_plain_reads_of_others_are_not_compared",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "            if not theirs:",
        "            if False:",
        f"{REENTERED}::test_case_120_who_works_on_nothing_unsafe_costs_others_nothing",
    ),
    Mutation(
        "120",
        "lib/library.py",
        "    return (in_c is OrderedDict and name in _LOOKUPS) or",
        "    return False or",
        f"{REENTERED}::test_case_120_who_looks_up_holds_nobody_up",
    ),
    Mutation(
        "120",
        "lib/c_guards.py",
        "            return _one_by_one(guard, single, called.owner, given[0])",
        "            pass",
        f"{REENTERED}::test_case_120_a_consumer_takes_what_a_live_stream_has_given",
    ),
    Mutation(
        "120",
        "lib/in_flight.py",
        "        if _is_loop():",
        "        if False:",
        f"{REENTERED}::test_case_120_a_loop_never_waits",
    ),
]


def check(mutation: Mutation, folder: Path) -> str | None:
    """Runs the tests of a mutation in a copy of the tree; returns what is wrong, or None."""
    path = folder / "rpyc_like" / mutation.file
    before = path.read_text()
    if mutation.old not in before:
        return f"its text is not in {mutation.file} any more"
    path.write_text(before.replace(mutation.old, mutation.new))
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout", "25", "-W", "ignore"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *mutation.test.split()],
            cwd=folder,
            env={**os.environ, "RPYC_LIKE_IMPL": mutation.impl},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return None
    finally:
        path.write_text(before)
    if done.returncode == 0:
        return "the tests pass without the fix"
    return None if done.returncode == 1 else f"the tests did not run:\n{done.stdout[-800:]}"


def main() -> None:
    wanted = [one for one in MUTATIONS if not sys.argv[1:] or one.case in sys.argv[1:]]
    folders: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory() as base:
        for number in range(2):
            folder = Path(base) / str(number)
            skipped = shutil.ignore_patterns(".*", "__pycache__", "_build", "corpus")
            shutil.copytree(ROOT, folder, ignore=skipped)
            folders.put(folder)

        def run(mutation: Mutation) -> str | None:
            folder = folders.get()
            try:
                return check(mutation, folder)
            finally:
                folders.put(folder)

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(run, wanted))
    for mutation, wrong in zip(wanted, outcomes, strict=True):
        print(f"case {mutation.case:>3}: {wrong or 'fails without its fix'} ({mutation.test})")
    failed = [wrong for wrong in outcomes if wrong]
    print(f"{len(wanted) - len(failed)} of {len(wanted)} mutations are noticed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
