"""Work spread over processes or threads, its results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partialmethod
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def results_in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    start: Callable[[], object] | None = None,
    threads: bool = False,
) -> Iterator[Result]:
    """Yield `work(item)` for each item in the order given, worked on at most a few items ahead of the reader.

    workers: processes to work in; with 1 the work is done in this one. start: called once in each process first.
    threads: work in threads of this process instead, for work that leaves Python's lock to others most of the time.
    What the work raises is raised here. The processes end with the iterator, and with this process however it ends.
    Raises RuntimeError where the processes die.
    """
    if workers == 1:
        yield from map(work, items)
        return
    if threads:
        pool = ThreadPoolExecutor(workers, initializer=start)
    else:
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(start,))
    pending: deque = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "the worker processes died, for want of memory or at their start: in a script, call this from under "
            "`if __name__ == '__main__':`, or work in this process with workers=1"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(start: Callable[[], object] | None) -> None:
    """Leave Ctrl-C and progress bars to the parent process, and end with it even where it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    if start:
        start()
