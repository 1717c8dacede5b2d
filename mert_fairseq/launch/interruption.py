"""Signals by which a scheduler announces the end: noted, acted upon between two updates, then handed to whom they were for.

A handler that runs in the middle of an update could save half of it. So it only notes the signal; the trainer asks after each update.
"""

import logging
import os
import signal
import sys
import threading
from typing import Any, Dict, Optional

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
INTERRUPTED = 85  # exit code: stopped by a signal, checkpoint saved, the same command goes on


class Interruption:
    """Of one process: whether a signal came, and who handled it before."""

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self._before: Dict[int, Any] = {}

    def listen(self) -> None:
        """From now on signals are noted; children by fork, which a scheduler signals as well, do not die of them."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        os.register_at_fork(after_in_child=self._shield_child)

    def hand_on(self) -> None:
        """Lets the handler of before have its signal; exits with INTERRUPTED where there was none, or another process was signalled."""
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

    def _shield_child(self) -> None:
        """In a child: signals of the scheduler are left to the parent; the parent's own SIGTERM still ends it."""
        if not self._before:
            return
        parent = os.getppid()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

        def await_parent() -> None:
            while signal.sigwaitinfo(SIGNALS).si_pid != parent:
                pass
            os._exit(0)

        threading.Thread(target=await_parent, daemon=True).start()


#: Of this process.
interruption = Interruption()
