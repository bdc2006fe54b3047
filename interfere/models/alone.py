"""One thread at a time on a network whose hooks or attention are changed for a while."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_LOCKS: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


@contextmanager
def alone(network: nn.Module) -> Iterator[None]:
    """Hold the network's lock; the thread that holds it may take it again."""
    with _MAKING:
        lock = _LOCKS.setdefault(network, threading.RLock())
    with lock:
        yield
