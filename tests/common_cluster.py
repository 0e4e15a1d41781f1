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


def new_pages(keep: bool) -> int:
    """Count the pages that the system gives while 20 arrays of 2 MiB are made and freed, one after another."""
    import contextlib
    import resource

    import numpy as np

    from sktransfer._frozen import freed_memory_kept

    with freed_memory_kept() if keep else contextlib.nullcontext():
        np.ones(2**18)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(2**18)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


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
