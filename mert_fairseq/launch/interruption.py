"""Signals by which a scheduler or a person announces the end: noted, acted upon between two updates, then handed to whom they were for.

A handler that runs in the middle of an update could save half of it. So it only notes the signal; the trainer asks after each update.
Ctrl-C (SIGINT) goes to all processes of the terminal at once: those that one has started leave it to that one, their starter.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, Optional

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
CTRL_C = signal.SIGINT
INTERRUPTED = 85  # exit code: stopped by a signal, checkpoint saved, the same command goes on
ENDED_BY_CTRL_C = 128 + CTRL_C
GONE_S = 1.0  # within which a process is gone whose connections have closed


class Interruption:
    """Of one process: whether a signal came, and who handled it before."""

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self._before: Dict[int, Any] = {}
        self._starter: Optional[int] = None
        self._parent: Optional[int] = None
        self._tell: Optional[Callable[[], None]] = None

    def listen(self, starter: Optional[int] = None) -> None:
        """From now on signals are noted; children by fork, which a scheduler signals as well, do not die of them.

        Args:
            starter: the process that has started this one to train with others; Ctrl-C is left to it while it lives.
        """
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        self._starter = starter
        if signal.getsignal(CTRL_C) != signal.SIG_IGN:  # a command in the background of a script
            self._before[CTRL_C] = signal.signal(CTRL_C, self._on_ctrl_c)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*SIGNALS, CTRL_C))
        os.register_at_fork(before=self._note_parent, after_in_child=self._shield_child)

    def save_on_ctrl_c(self, tell: Callable[[], None] = lambda: None) -> None:
        """From now on there is something to lose: the first Ctrl-C is noted, and `tell` called. Before, it ends the process."""
        self._tell = tell

    def hand_on(self) -> None:
        """Lets the handler of before have its signal; exits with INTERRUPTED where there was none, or another process was signalled."""
        if self.received == CTRL_C:
            logger.warning("interrupted; the checkpoint is saved, the same command goes on")
            sys.exit(ENDED_BY_CTRL_C)
        before = self._before.get(self.received)
        self.end()
        if callable(before):
            os.kill(os.getpid(), self.received)
        sys.exit(INTERRUPTED)

    def end(self) -> None:
        """Training is over: handlers of before get their signals again, and where there were none a late signal changes nothing."""
        for number, handler in self._before.items():
            signal.signal(number, handler if callable(handler) else signal.SIG_IGN)
        self._before.clear()

    def _note(self, number: int, frame: Any) -> None:
        if self.received is None:
            self.received = number
            logger.warning(f"{signal.Signals(number).name}: a checkpoint is saved after this update, then training stops")

    def _on_ctrl_c(self, number: int, frame: Any) -> None:
        """The first is noted; one before anything was trained, and the second, end the process at once."""
        if self._starter is not None and os.getppid() == self._starter:
            return
        if self._tell is None or self.received == number:
            self._end_at_once()
        self.received = number
        logger.warning("Ctrl-C: a checkpoint is saved after this update, then training stops; Ctrl-C again ends it at once")
        self._tell()

    def _end_at_once(self) -> None:
        """Without the clean-up of Python and torch, which waits for loader processes."""
        for child in multiprocessing.active_children():
            child.kill()
        logger.warning("interrupted; the same command goes on from the last checkpoint, where there is one")
        os._exit(ENDED_BY_CTRL_C)

    def _note_parent(self) -> None:
        """Before a fork: by the time the child asks, it may be gone."""
        self._parent = os.getpid()

    def _shield_child(self) -> None:
        """In a child: Ctrl-C and the scheduler's signals are left to the parent; the parent's own SIGTERM still ends it."""
        if not self._before:
            return
        parent = self._parent
        signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, CTRL_C))
        before = sys.excepthook
        sys.excepthook = _UnlessOrphaned(parent, before.show if isinstance(before, _UnlessOrphaned) else before)

        def await_parent() -> None:
            while signal.sigwaitinfo(SIGNALS).si_pid != parent:
                pass
            os._exit(0)

        threading.Thread(target=await_parent, daemon=True).start()


class _UnlessOrphaned:
    """Exception hook of a child whose threads send to its parent: that a killed parent hung up is nothing to show anybody."""

    def __init__(self, parent: Optional[int], show: Callable[..., Any]) -> None:
        self._parent, self.show = parent, show

    def __call__(self, kind: type, error: BaseException, trace: Any) -> None:
        if not (isinstance(error, (ConnectionError, EOFError)) and self._is_orphan()):
            self.show(kind, error, trace)

    def _is_orphan(self) -> bool:
        """Connections of a killed process close a moment before it is gone."""
        deadline = time.monotonic() + GONE_S
        while os.getppid() == self._parent and time.monotonic() < deadline:
            time.sleep(0.01)
        return os.getppid() != self._parent


#: Of this process.
interruption = Interruption()
