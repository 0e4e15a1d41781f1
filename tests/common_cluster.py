"""What the tests on a Dask cluster share: two worker processes, and what they are asked to count."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

_counting = {}


@contextmanager
def local_cluster() -> Iterator:
    """Give a client of a cluster of two processes of one thread each on this machine."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def start_counting() -> None:
    """Count pictures and networks in the process that runs this, from nothing."""
    from common_frozen import count_pictures

    from sktransfer import clear_cache
    from sktransfer._frozen import _elsewhere
    from sktransfer.backbones import Backbone

    clear_cache()
    _elsewhere._unpacked.clear()
    if not _counting:
        counter = count_pictures()  # held, so that it counts until the process ends
        networks, construct = [], Backbone.__init__

        def count_and_construct(self, *args, **options):
            networks.append(options["name"])
            construct(self, *args, **options)

        Backbone.__init__ = count_and_construct
        _counting.update(counter=counter, pictures=counter.__enter__(), networks=networks)
    _counting["pictures"].clear()
    _counting["networks"].clear()


def counts() -> tuple[int, int]:
    """Pictures that entered a network, and networks that were loaded, since :func:`start_counting`."""
    return sum(_counting["pictures"]), len(_counting["networks"])


def new_pages_and_what_is_given_back() -> tuple[int, list[int]]:
    """Count the pages that the system gives while 20 arrays of 2 MiB are made and freed, one after another.

    Beside it stand the thresholds with which the allocator was told to give back afterwards. The pages tell that only
    in a process that does nothing else: here a gap between blocks may hold the array.
    """
    import resource
    from unittest.mock import patch

    import numpy as np

    from sktransfer._frozen import _elsewhere

    with patch.object(_elsewhere, "give_back_freed_memory", wraps=_elsewhere.give_back_freed_memory) as give_back:
        with _elsewhere.freed_memory_kept():
            np.ones(2**18)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                np.ones(2**18)
            n_pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        return n_pages, [threshold for (threshold,), _ in give_back.call_args_list]


class MeanColour(NamedTuple):
    """The cheapest computation there is: three numbers a picture."""

    key: str = "mean colour"
    cpu_rows: int = 4

    def __call__(self, x):
        return x.mean((2, 3))

    def shape(self):
        return (3,)


class KillsItsWorker(NamedTuple):
    """The mean colour, by a process that is killed over the first picture, and never again."""

    sign: str
    key: str = "fatal"
    cpu_rows: int = 4

    def __call__(self, x):
        if not Path(self.sign).exists():
            Path(self.sign).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x.mean((2, 3))

    def shape(self):
        return (3,)
