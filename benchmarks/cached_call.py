"""What a call costs whose features are all cached: ``python benchmarks/cached_call.py``; prints milliseconds."""

import statistics
import time

import numpy as np

from sktransfer import PretrainedFeatureExtractor

N, REPEATS = 10, 200


def milliseconds(call) -> float:
    """Median over the repeats."""
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - start))
    return statistics.median(found)


def main():
    """Print the whole call, and the part of it that names the pictures and looks them up."""
    from sktransfer._frozen import open_store
    from sktransfer._frozen._store import row_key

    X = np.random.default_rng(0).integers(0, 256, (N, 224, 224, 3), dtype=np.uint8)
    extractor = PretrainedFeatureExtractor("sktransfer_mini").fit(X)
    extractor.transform(X)
    store = open_store("memory")

    def look_up():
        samples = extractor._samples(X)
        store.get_many({row_key(samples.digest(i), "") for i in range(N)}, extractor.n_features_out_)

    whole, looking = milliseconds(lambda: extractor.transform(X)), milliseconds(look_up)
    print(f"{N} cached pictures of 224 pixels: {whole:.2f} ms, of which {looking:.2f} ms to name and look up")


if __name__ == "__main__":
    main()
