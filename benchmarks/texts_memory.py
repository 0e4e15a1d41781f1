"""Peak memory of static embeddings of 10,000 and of 100,000 texts that a container makes when it is asked for them.

``python benchmarks/texts_memory.py``; each number of texts has a process of its own. What the features take is not
counted: they are the result.
"""

import resource
import subprocess
import sys

NUMBERS = (10_000, 100_000)
WORDS = ("the", "old", "kettle", "novel", "lamp", "author", "knife", "story", "broke", "worked", "never", "well")
N_WORDS = 60


class Texts:
    """Texts of which none is kept."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return " ".join(WORDS[(i // 7 + 3 * k * k + i * k) % len(WORDS)] for k in range(N_WORDS)) + f" {i}"


def peak():
    """Give the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(n):
    """Print the peak before and behind the embedding of `n` texts, less what the features take, in MB."""
    from sktransfer import PretrainedFeatureExtractor

    extractor = PretrainedFeatureExtractor("text:sktransfer_mini", cache=None).fit(Texts(100))
    extractor.transform(Texts(2000))
    before = peak()
    features = extractor.transform(Texts(n))
    print(f"{before:.0f} {peak() - before - features.nbytes / 2**20:.0f} {features.nbytes / 2**20:.0f}")


def main():
    """Print the table."""
    print("| texts | before, MB | more, MB | features, MB |\n|---|---|---|---|")
    for n in NUMBERS:
        done = subprocess.run([sys.executable, __file__, str(n)], check=True, capture_output=True, text=True)
        print(f"| {n:,} |", " | ".join(done.stdout.split()), "|")


if __name__ == "__main__":
    measure(int(sys.argv[1])) if len(sys.argv) > 1 else main()
