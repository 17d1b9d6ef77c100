"""One process a seed for the demos: a single bar shows all of them, and they end with the program, however it ends.

Import this before what takes long to load: workers watch their parent as soon as they have loaded it. Used alone, without
`map_seeds`, `say` prints and `follow` silences a trainer.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context
from threading import RLock
from typing import Any

from tqdm import tqdm

from hf_guidance.common.processes import end_with_parent

BAR = "{percentage:3.0f}%|{bar}| {n:.1f}/{total} runs [{elapsed}<{remaining}]"
_PARENT = "HF_GUIDANCE_PARENT"  # environment variable: of new workers, the process id of their parent
_reports: Any = None  # in a worker: the queue to the parent, of lines of text and of parts of a run

if _PARENT in os.environ:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent answers
    end_with_parent(int(os.environ.pop(_PARENT)))


def map_seeds(
    function: Callable[[int, Any], Any], seeds: Sequence[int], options: Any, *, runs: int, workers: int
) -> list[Any]:
    """What ``function(seed, options)`` returns for every seed, in the order of the seeds; several run side by side.

    The bar is drawn on a terminal only. Workers end when this process does: by an error of one of them, which is raised at
    once, by Ctrl-C, or by any signal.

    Args:
        function: of a module, so that a new process can import it.
        seeds: what the function is called with.
        options: its second argument.
        runs: trainings of one seed, for the length of the bar.
        workers: number of processes.
    """
    context = get_context("spawn")
    reports = context.SimpleQueue()
    with ProcessPoolExecutor(workers, context, _report_to, (reports,)) as pool:
        before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            os.environ[_PARENT] = str(os.getpid())
            futures = [pool.submit(function, seed, options) for seed in seeds]
            del os.environ[_PARENT]
            _show(reports, futures, len(seeds) * runs)
        except BaseException:
            for child in active_children():
                child.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    return [future.result() for future in futures]


def say(text: str) -> None:
    """Print a line; from a worker, above the bar."""
    if _reports is None:
        print(text, flush=True)
    else:
        _reports.put(text)


def draw_no_bars() -> None:
    """Stop the bars of datasets that are prepared and models that are saved: they would cross the bar of the parent."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()


def follow(trainer: Any) -> None:
    """Let the training of a worker move the bar. The trainer has ``disable_tqdm``, and prints nothing from now on."""
    from transformers.trainer_callback import PrinterCallback, TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if _reports is not None:
                _reports.put(1 / state.max_steps)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Steps())


def _report_to(reports: Any) -> None:
    global _reports
    _reports = reports
    tqdm.set_lock(RLock())  # else it makes a semaphore of the system, which a worker that is killed leaves behind


def _show(reports: Any, futures: Sequence["Future[Any]"], total: int) -> None:
    """Draw what the workers report until all are done; raise the first error of one."""
    left: Any = futures
    with tqdm(total=total, bar_format=BAR, disable=None) as bar:
        while left:
            done, left = wait(futures, timeout=0.2, return_when=FIRST_EXCEPTION)
            while not reports.empty():  # nothing comes after the result of a worker
                report = reports.get()
                if isinstance(report, str):
                    bar.write(report)
                    sys.stdout.flush()
                else:
                    bar.update(report)
            for future in done:
                future.result()
