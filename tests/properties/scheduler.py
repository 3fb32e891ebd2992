"""Threads whose interleaving is a seed: one runs at a time, and dice say which is next.

``Scheduler.installed()`` replaces ``threading`` and ``os`` in every loaded module of
nsqlite by stand-ins. Their locks, conditions, events and threads, and the system
calls that sync or change files, are the points at which the scheduler may let
another thread go on. What runs between two such points is one step, so a run is
a function of its seed, and a failing one can be repeated.

Time is virtual: it moves when a thread says so, or, when nobody can run, to the
earliest deadline somebody waits for. If there is none either, that is a deadlock.
"""

# ruff: noqa: D102 - the methods are the operations, and do what their names say

import contextlib
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

SECOND = 1_000_000_000
SYSTEM_CALLS = {"fsync", "fdatasync", "pwrite", "write", "rename", "replace", "unlink", "remove", "ftruncate"}


class DeadlockError(Exception):
    """Nobody can go on, and nobody waits for a time. Holds every thread's stack."""


class _Abandoned(BaseException):
    """Raised in what still runs when a run has ended."""


class Task:
    """One thread, and what it waits for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go = threading.Semaphore(0)
        self.may_run: Callable[[], bool] | None = None
        self.deadline_ns: int | None = None
        self.is_done = False
        self.thread: threading.Thread | None = None


class Scheduler:
    """Runs tasks one at a time, chosen by `seed`.

    Attributes:
        now_ns: Virtual monotonic time.
        wall_ns: Virtual wall time.
        at_switch: Called at every step between two tasks, when nothing runs.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ns, self.wall_ns = 1_000 * SECOND, 1_700_000_000 * SECOND
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.is_over = False
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.switches = 0
        self.at_switch: Callable[[], None] = lambda: None
        self._by_thread: dict[int, Task] = {}

    # -- running

    def run(self, main: Callable[[], None], timeout: float = 60.0) -> None:
        """Run `main` and all it starts, until it returns or something raises."""
        self.spawn("main", main)
        self.current = self.tasks[0]
        self.tasks[0].go.release()
        if not self.ended.wait(timeout):
            self.error = TimeoutError("a step does not end:\n" + self._stacks())
        self.is_over = True
        for task in self.tasks:
            task.go.release()
        for task in self.tasks:
            if task.thread is not None:
                task.thread.join(5)
        if self.error is not None:
            raise self.error

    def spawn(self, name: str, target: Callable[[], None]) -> Task:
        """A new task, which runs when the dice say so."""
        task = Task(name)

        def body() -> None:
            task.go.acquire()
            try:
                if not self.is_over:
                    target()
            except _Abandoned:
                return
            except BaseException as error:  # noqa: BLE001 - raised again by run()
                self._end(error)
                return
            task.is_done = True
            if task is self.tasks[0]:
                self._end(None)
            elif not self.is_over:
                self._hand_on()

        task.thread = threading.Thread(target=body, daemon=True, name=name)
        self.tasks.append(task)
        task.thread.start()
        self._by_thread[task.thread.ident or 0] = task
        return task

    def is_in_task(self) -> bool:
        """Whether the caller is one of ours; others (the collector at exit) pass through."""
        return threading.get_ident() in self._by_thread

    def switch(self) -> None:
        """A point at which another task may go on."""
        if self.is_in_task():
            self.wait(lambda: True)

    def wait(self, may_run: Callable[[], bool], deadline_ns: int | None = None) -> bool:
        """Let others run until `may_run()`, or until the deadline: then return False."""
        if self.is_over:
            raise _Abandoned
        task = self._by_thread[threading.get_ident()]
        task.may_run, task.deadline_ns = may_run, deadline_ns
        self._hand_on()
        task.go.acquire()
        if self.is_over:
            raise _Abandoned
        task.may_run = task.deadline_ns = None
        return may_run()

    def _hand_on(self) -> None:
        """Choose who runs next. The caller then waits, or is done."""
        self.switches += 1
        try:
            self.at_switch()
            self.current = self._next()
        except BaseException as error:  # noqa: BLE001 - raised again by run()
            self._end(error)
            return
        self.current.go.release()

    def _next(self) -> Task:
        while True:
            able = [t for t in self.tasks if not t.is_done and self._is_able(t)]
            if able:
                return self.random.choice(able)
            times = [t.deadline_ns for t in self.tasks if not t.is_done and t.deadline_ns is not None]
            if not times:
                raise DeadlockError(f"after {self.switches} steps:\n" + self._stacks())
            self.advance_ns(min(times) - self.now_ns)

    def _is_able(self, task: Task) -> bool:
        if task.may_run is None or task.may_run():
            return True
        return task.deadline_ns is not None and task.deadline_ns <= self.now_ns

    def _end(self, error: BaseException | None) -> None:
        self.error = self.error or error
        self.is_over = True
        self.ended.set()

    def _stacks(self) -> str:
        frames = sys._current_frames()
        told = []
        for task in self.tasks:
            frame = frames.get(task.thread.ident or 0) if task.thread else None
            if not task.is_done and frame is not None:
                told.append(f"--- {task.name}\n" + "".join(traceback.format_stack(frame)[-7:]))
        return "\n".join(told)

    # -- time

    def advance_ns(self, ns: int) -> None:
        self.now_ns += ns
        self.wall_ns += ns

    # -- stand-ins

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """`threading` and `os` of nsqlite's modules are ours while this lasts."""
        stand_ins = {"threading": _Threading(self), "os": _Os(self)}
        replaced = []
        for name, module in list(sys.modules.items()):
            if name == "nsqlite" or name.startswith("nsqlite."):
                for key, real in (("threading", threading), ("os", os)):
                    if vars(module).get(key) is real:
                        setattr(module, key, stand_ins[key])
                        replaced.append((module, key, real))
        try:
            yield
        finally:
            for module, key, real in replaced:
                setattr(module, key, real)


class SimulatedClock:
    """A scheduler's time, as a node asks for it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def wall_ns(self) -> int:
        return self._scheduler.wall_ns

    def monotonic_ns(self) -> int:
        return self._scheduler.now_ns

    def wait(self, lock: "_Lock", deadline_ns: int | None) -> bool:
        """Acquire a lock that somebody releases to wake this one."""
        return lock.take(deadline_ns)


class _Lock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._scheduler.is_in_task():
            self._is_held = True
            return True
        if not blocking:
            self._scheduler.switch()
            if self._is_held:
                return False
            self._is_held = True
            return True
        deadline_ns = None if timeout < 0 else self._scheduler.now_ns + int(timeout * SECOND)
        return self.take(deadline_ns)

    def take(self, deadline_ns: int | None) -> bool:
        if not self._scheduler.wait(lambda: not self._is_held, deadline_ns):
            return False
        self._is_held = True
        return True

    def release(self) -> None:
        if not self._is_held:
            raise RuntimeError("release unlocked lock")
        self._is_held = False
        if not self._scheduler.is_over:
            self._scheduler.switch()

    def locked(self) -> bool:
        return self._is_held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _RLock(_Lock):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._owner, self._depth = 0, 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = threading.get_ident()
        if self._owner != me:
            if not super().acquire(blocking, timeout):
                return False
            self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        assert self._owner == threading.get_ident()
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            super().release()


class _Condition:
    def __init__(self, scheduler: Scheduler, lock: Any = None) -> None:
        self._scheduler = scheduler
        self._lock = lock or _RLock(scheduler)
        self._waiters: list[list[bool]] = []
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return bool(self._lock.acquire())

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        told = [False]
        self._waiters.append(told)
        deadline_ns = None if timeout is None else self._scheduler.now_ns + int(timeout * SECOND)
        self._lock.release()
        woken = self._scheduler.wait(lambda: told[0], deadline_ns)
        if told in self._waiters:
            self._waiters.remove(told)
        self._lock.acquire()
        return woken

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        end = None if timeout is None else self._scheduler.now_ns + int(timeout * SECOND)
        while not predicate():
            left = None if end is None else (end - self._scheduler.now_ns) / SECOND
            if left is not None and left <= 0:
                return False
            self.wait(left)
        return True

    def notify(self, count: int = 1) -> None:
        for told in self._waiters[:count]:
            told[0] = True
        del self._waiters[:count]

    def notify_all(self) -> None:
        self.notify(len(self._waiters))


class _Event:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._scheduler.switch()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        deadline_ns = None if timeout is None else self._scheduler.now_ns + int(timeout * SECOND)
        return self._scheduler.wait(lambda: self._is_set, deadline_ns)


class _Thread:
    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str = "thread",
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        scheduler: Scheduler,
    ) -> None:
        self._scheduler, self.name, self.daemon = scheduler, name, daemon
        self._call = lambda: target(*args, **(kwargs or {})) if target else None
        self._task: Task | None = None

    def start(self) -> None:
        self._task = self._scheduler.spawn(self.name, lambda: self._call() and None)
        self._scheduler.switch()

    @property
    def ident(self) -> int | None:
        return self._task.thread.ident if self._task and self._task.thread else None

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.is_done

    def join(self, timeout: float | None = None) -> None:
        deadline_ns = None if timeout is None else self._scheduler.now_ns + int(timeout * SECOND)
        self._scheduler.wait(lambda: not self.is_alive(), deadline_ns)


class _Threading:
    """Stands where ``threading`` stood; what is not replaced is the real one's."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.Lock = lambda: _Lock(scheduler)
        self.RLock = lambda: _RLock(scheduler)
        self.Condition = lambda lock=None: _Condition(scheduler, lock)
        self.Event = lambda: _Event(scheduler)
        self.Thread = lambda *args, **kwargs: _Thread(*args, scheduler=scheduler, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class _Os:
    """Stands where ``os`` stood: before and after a call that writes, another may run."""

    def __init__(self, scheduler: Scheduler) -> None:
        for name in SYSTEM_CALLS:
            setattr(self, name, self._switching(scheduler, getattr(os, name)))

    @staticmethod
    def _switching(scheduler: Scheduler, call: Callable[..., Any]) -> Callable[..., Any]:
        def switching(*args: Any, **kwargs: Any) -> Any:
            if scheduler.is_over:
                return call(*args, **kwargs)
            scheduler.switch()
            result = call(*args, **kwargs)
            scheduler.switch()
            return result

        return switching

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)
