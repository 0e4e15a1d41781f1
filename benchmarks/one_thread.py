"""One thread in every pool, for what is compared by CPU seconds: threads that wait for one another spin, and count."""

import sys

from threadpoolctl import threadpool_info

__all__ = ["ONE_THREAD", "check_one_thread"]

# For the environment of a process: read when each library is loaded.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")


def check_one_thread():
    """Raise RuntimeError where a library that is loaded would use more than one."""
    pools = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    if "torch" in sys.modules:
        pools["torch"] = sys.modules["torch"].get_num_threads()
    more = {name: n for name, n in pools.items() if n not in (None, 1)}
    if more:
        raise RuntimeError(f"More than one thread, which the other side may not have: {more}.")
