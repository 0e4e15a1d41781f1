"""Extraction on a Dask cluster of this machine, against one process."""

import joblib
import numpy as np

from speed._job import Job
from speed._pictures import write_pictures

__all__ = ["JOBS"]

_N_PICTURES = 600
_held = []  # what lives as long as the process of a side


def _one_process():
    import torch

    from sktransfer import PretrainedFeatureExtractor

    torch.set_num_threads(1)
    folder, paths = write_pictures(_N_PICTURES)
    _held.append(folder)
    extractor = PretrainedFeatureExtractor("mobilenetv2_100", weights=None, cache=None, n_jobs=1).fit(paths)
    return lambda: extractor.transform(paths)


def _on_cluster():
    from dask.distributed import Client, LocalCluster

    extract = _one_process()
    cluster = LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=":0")
    _held.extend([cluster, Client(cluster)])

    def call():
        with joblib.parallel_config(backend="dask"):
            return extract()

    return call


def _check(results):
    np.testing.assert_array_equal(results["2 workers"], results["1 process"])
    return "equal bit for bit"


JOBS = {
    "extraction": Job(
        title="JPEG files to features, mobilenetv2_100: Dask LocalCluster, 2 workers of 1 thread",
        sides={"2 workers": _on_cluster, "1 process": _one_process},
        goals={("2 workers", "1 process"): 1.7},
        check=_check,
        measure="wall",
        rounds=3,
        packages={"2 workers": "distributed"},
        note=f"{_N_PICTURES} JPEG files of 500 x 375 pixels, random weights, 224 px, no cache; the cluster is running "
        "and has loaded the network. The wall clock needs two idle cores",
    ),
}
