"""A scheduler that decides which thread runs next, at each operation that threads wait with.

Threads are real ones, so that all code runs unmodified, but only the one with the baton runs. Each
operation of the scheduled primitives is a point at which another may get it. Who does is drawn from
a seed: by priorities with a few changes (as in PCT, "A randomized scheduler with probabilistic
guarantees of finding bugs", 2010), or by chance at each point. In some schedules most changes come
a few lines of the watched modules after their point, so that any line may be the last one before
another thread runs; lines are traced for that long only, because that is slow.

The clock stands still while anybody can run. When nobody can, it jumps to the next time-out. A
schedule fails if there is none, or if it is so far away that only the time-out of a request can be
meant: then somebody waits for a wake-up that has been lost.
"""

from __future__ import annotations

import _thread
import random
import re
import sys
import threading
import traceback
from collections.abc import Callable
from math import inf, log
from typing import Any

__all__ = ["Dissolved", "Scheduler", "Task", "Vain", "active"]

_HANG = 60.0  # seconds of real time in which a schedule must end
_SPIN = 20_000  # points that one thread passes in a row before others get a turn
_SOON = 0.1  # virtual seconds to a time-out that may come before others have run
_LINES = 6.0  # a change comes at most two to the power of so many lines after its point
_SETTLE = 15.0  # virtual seconds for threads to end in, when the program has: idle workers take 10


class Dissolved(BaseException):
    """Ends a thread that is left when its schedule has ended."""


class Vain(AssertionError):
    """Somebody waits although nothing can wake him."""


class Task:
    """A thread of a schedule."""

    def __init__(self, name: str, priority: float) -> None:
        self.name = name
        self.priority = priority
        self.ident = 0
        self.baton = _thread.allocate_lock()
        self.baton.acquire()
        self.on: object = None
        """What it waits on, if it does."""
        self.deadline: float | None = None
        self.timed_out = False
        self.done = False
        self.lines = 0
        """After how many more lines of the watched modules its priority changes, if it will."""
        self.vanished = False
        """Whether it has stayed behind in a fork."""


class Scheduler:
    """One schedule.

    Args:
        seed: draws all decisions.
        lines: whether changes may come at lines of the watched modules.
        patience: virtual seconds that the program may wait at once without anybody running.
        limit: virtual seconds that the program may take.
    """

    def __init__(
        self, seed: object, lines: bool = False, patience: float = 1.0, limit: float = 10.0
    ) -> None:
        self.seed = seed
        self.random = random.Random(repr(seed))
        self.describe: Callable[[], list[str]] = list
        self.trace_lines: Callable[[], object] = list
        """Has :meth:`line` called for the lines that the current thread comes to."""
        self.patience = patience
        self.limit = limit
        self.lines = lines
        self.now = self.begin = 1000.0
        self.steps = 0
        self.tasks: list[Task] = []
        self.runnable: list[Task] = []
        self.current: Task = Task("outside", 0.0)
        self.failure: str | None = None
        self.dissolving = False
        self.settling = False
        self._settled_at = 0.0
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        self._floor = 0.0
        self._began = 0  # when the current thread began to run, in steps
        span = 2 ** self.random.uniform(5, 11)
        self._changes = sorted(
            (self.random.uniform(0, span) for _ in range(self.random.randint(1, 4))), reverse=True
        )
        self._walk = self.random.choice([0.0, 0.0, 0.02, 0.2])  # chance of a change at each point
        self._next_walk = self._draw_walk()
        self._quiet_until = 0.0  # the step before which no point has anything to do

    # -- the life of a schedule

    def run(self, program: Callable[[], object], thread: Callable[..., Any]) -> None:
        """Run a program to its end, and end all threads that are left.

        Args:
            thread: the class of scheduled threads.

        Raises:
            Vain: somebody waited in vain, or the program failed.
        """
        global _active
        _active = self
        try:
            first = thread(target=program, name="program", daemon=True)
            first.task = self.add(first.name)
            first.begin()
            self.current = first.task
            first.task.baton.release()
            if not self._ended.acquire(True, _HANG):
                self.failure = "the schedule hangs: a thread waits outside of the scheduler"
                self.failure += "\n" + self.stacks(everybody=True)
            self._dissolve()
        finally:
            _active = None
        if self.failure is not None:
            raise Vain(self.failure)

    def _dissolve(self) -> None:
        self.dissolving = True
        for task in self.tasks:
            if not task.done:
                self.current = task
                task.baton.release()
                if not self._ended.acquire(True, 10):
                    sys.stderr.write(f"a thread cannot be ended: {task.name}\n")
                    traceback.print_stack(sys._current_frames()[task.ident])

    def add(self, name: str) -> Task:
        """Return the task for a new thread."""
        task = Task(f"{len(self.tasks)} {name}", self.random.random())
        self.tasks.append(task)
        self._add(task)
        return task

    def enter(self, task: Task) -> None:
        """Begin the task's thread, in it; wait for its first turn."""
        task.ident = _thread.get_ident()
        task.baton.acquire()
        if self.dissolving:
            raise Dissolved

    def leave(self, task: Task, error: BaseException | None) -> None:
        """End the task's thread, in it."""
        sys.settrace(None)
        task.done = True
        if self.dissolving:
            self._ended.release()
            return
        self.runnable.remove(task)
        if error is not None:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self.fail(f"{task.name} raised {error!r}\n{text}")
            return
        if task is self.tasks[0]:
            self.settling, self._settled_at = True, self.now
        self.wake(task)
        chosen = self._next()
        if chosen is not None:
            self._give(chosen)

    def fail(self, text: str) -> None:
        """End the schedule: it has failed."""
        self.failure = f"{text}\n{self.stacks()}"
        self._ended.release()

    # -- points

    def point(self) -> None:
        """Let another thread run, if the schedule says so."""
        self.steps += 1
        if self.steps >= self._quiet_until:
            self._look()

    def _look(self) -> None:
        """Change priorities if it is time to, and let the thread run that has the highest."""
        if self.dissolving:
            return
        me = self.current
        if self._changes and self._changes[-1] <= self.steps:
            self._changes.pop()
            if self.random.random() < 0.3:
                self._jump(_SOON)
            else:
                self._soon(me)
        elif self._next_walk <= self.steps:
            self._next_walk = self._draw_walk()
            self._soon(me)
        if self.steps - self._began > _SPIN:
            self._demote(me)
        self._yield(me)

    def _yield(self, me: Task) -> None:
        """Let the thread run that has the highest priority."""
        best = me
        for task in self.runnable:
            if task.priority > best.priority:
                best = task
        if best is not me:
            self._hand(me, best)
        self._quiet_until = min(
            self._changes[-1] if self._changes else inf, self._next_walk, self._began + _SPIN + 1
        )

    def _draw_walk(self) -> float:
        """Return at which step the next change by chance comes."""
        if not self._walk:
            return inf
        return self.steps + 1 + int(log(1.0 - self.random.random()) / log(1.0 - self._walk))

    def _soon(self, me: Task) -> None:
        """Change a thread's priority: now, or a few lines later."""
        if self.lines and not me.lines and self.random.random() < 0.8:
            me.lines = int(2 ** self.random.uniform(0, _LINES))
            self.trace_lines()
        else:
            self._change(me)

    def line(self) -> None:
        """Note that the current thread has come to another line."""
        me = self.current
        if me.lines and not self.dissolving:
            me.lines -= 1
            if not me.lines:
                sys.settrace(None)
                self._change(me)
                self._yield(me)

    def _change(self, me: Task) -> None:
        if self._walk and self.random.random() < 0.5:
            me.priority = self.random.random() - (self._floor < 0)
        else:
            self._demote(me)

    def _demote(self, me: Task) -> None:
        self._began = self.steps
        self._floor -= 1.0
        me.priority = self._floor

    def block(self, on: object, timeout: float | None = None) -> bool:
        """Wait until :meth:`wake` is called with ``on``; return whether it was in time.

        What is waited for may have gone to another meanwhile.
        """
        if self.dissolving:
            raise Dissolved
        me = self.current
        me.on, me.timed_out = on, False
        me.deadline = None if timeout is None else self.now + max(0.0, timeout)
        self.runnable.remove(me)
        chosen = self._next()
        if chosen is None:
            me.baton.acquire()  # until it is dissolved
            raise Dissolved
        if chosen is not me:
            self._hand(me, chosen)
        me.on = me.deadline = None
        return not me.timed_out

    def wake(self, on: object) -> None:
        """Let those run who wait on an object."""
        for task in self.tasks:
            if task.on is on and not task.vanished:
                self._rouse(task, False)

    def leave_others_behind(self) -> None:
        """Go on as a forked child does: with this thread alone."""
        for task in self.tasks:
            if task is not self.current and not task.done:
                task.vanished = True
        self.runnable = [self.current]

    def _rouse(self, task: Task, timed_out: bool) -> None:
        task.on, task.timed_out = None, timed_out
        self._add(task)

    def _add(self, task: Task) -> None:
        self.runnable.append(task)
        self._quiet_until = 0.0

    def _give(self, task: Task) -> None:
        self.current = task
        self._began = self.steps
        task.baton.release()

    def _hand(self, me: Task, task: Task) -> None:
        self._give(task)
        me.baton.acquire()
        if self.dissolving:
            raise Dissolved

    # -- who is next

    def _next(self) -> Task | None:
        """Return who runs next, or None when the schedule has ended."""
        if not self.runnable and not self._jump(None):
            self._end()
            return None
        return max(self.runnable, key=lambda task: task.priority)

    def _waiting(self) -> list[Task]:
        return [task for task in self.tasks if task.on is not None and not task.vanished]

    def _jump(self, most: float | None) -> bool:
        """Let the next time-out come; return whether there is one.

        Args:
            most: in how many seconds at most; ``None`` for as many as the schedule allows.
        """
        dues = [task.deadline for task in self._waiting() if task.deadline is not None]
        if not dues:
            return False
        due = max(min(dues), self.now)
        if most is not None:
            if due - self.now > most:
                return False
        elif self.settling:
            if due - self._settled_at > _SETTLE:
                return False
        elif due - self.now > self.patience or due - self.begin > self.limit:
            return False
        self.now = due
        for task in self._waiting():
            if task.deadline is not None and task.deadline <= due:
                self._rouse(task, True)
        return True

    def _end(self) -> None:
        left = [task for task in self._waiting() if not _KEEPS.search(task.name)]
        if self.settling and not left:
            self._ended.release()
            return
        after = "the program has ended, but " if self.settling else ""
        self.fail(f"{after}somebody waits although nothing can wake him, or only his time-out")

    # -- reports

    def stacks(self, everybody: bool = False) -> str:
        """Return where the threads wait."""
        lines = [f"seed {self.seed!r}, step {self.steps}, {self.now - self.begin:.3f} s"]
        frames = sys._current_frames()
        for task in self.tasks:
            if task.done or task.vanished or (task.on is None and not everybody):
                continue
            left = "for ever" if task.deadline is None else f"for {task.deadline - self.now:.3f} s"
            lines.append(f"--- {task.name} ({task.ident}) waits {left} on {task.on!r}")
            stack = traceback.extract_stack(frames[task.ident]) if task.ident in frames else []
            lines += [
                f"    {frame.filename.rpartition('rpyc_like/')[2]}:{frame.lineno} {frame.name}: "
                f"{frame.line}"
                for frame in stack
                if "/rpyc_like/" in frame.filename or "scenarios" in frame.filename or everybody
            ]
        lines += self.describe()
        return "\n".join(lines)


_KEEPS = re.compile(r" rpyc_like-|run_forever")  # threads that a process has once, until it ends
_active: Scheduler | None = None
_main = threading.main_thread().ident


def active() -> Scheduler | None:
    """Return the schedule that the current thread belongs to, if it does."""
    schedule = _active
    if schedule is None or schedule.current.ident != _thread.get_ident():
        return None
    return schedule
