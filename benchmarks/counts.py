"""Counts and sizes that must not grow: ``make counts``.

How often a picture is opened, decoded and sent through a network in a search, how many networks are loaded, how large
pickles are, how much an import brings. No figure is a time, so that a busy machine changes none of them. Prints a
table, and ends with status 1 and a line for each figure above its ceiling in ``results/counts.json``.
``python benchmarks/counts.py --write`` makes ceilings of the figures measured: sizes with a tenth to spare, counts
as they are.
"""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CEILINGS = HERE / "results" / "counts.json"
N_PICTURES = 40


def excesses(counts, ceilings):
    """Compare with the ceilings; give a line for each figure that is above its own or has none."""
    lines = [
        f"{name}: {value:,} is above its ceiling of {ceilings[name]:,}"
        for name, value in counts.items()
        if name in ceilings and value > ceilings[name]
    ]
    lines += [
        f"{name}: {value:,} has no ceiling in {CEILINGS.name}" for name, value in counts.items() if name not in ceilings
    ]
    return lines + [f"{name}: has a ceiling, but is no longer counted" for name in ceilings if name not in counts]


def ceilings_of(counts):
    """Make ceilings of figures."""
    sizes = ("bytes", "modules")
    return {name: -(-value * 11 // 10) if name.endswith(sizes) else value for name, value in counts.items()}


class Counter:
    """What happens to pictures and networks in a block."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.opened = self.decoded = self.hashed = self.passed = self.loaded = 0
        self.active = False
        sys.addaudithook(self._audit)

    def _audit(self, event, args):
        if self.active and event == "open" and str(args[0]).startswith(self.folder):
            self.opened += 1

    @contextmanager
    def counting(self):
        """Count from nothing, without what earlier blocks have cached."""
        from common_frozen import count_pictures
        from PIL import Image

        from sktransfer import clear_cache
        from sktransfer.backbones import Backbone
        from sktransfer.modalities import _pictures

        def hash_array(*args):
            self.hashed += 1
            return array_digest(*args)

        def decode(*args, **options):
            self.decoded += 1
            return open_image(*args, **options)

        def construct(backbone, *args, **options):
            self.loaded += 1
            make_backbone(backbone, *args, **options)

        clear_cache()
        self.opened = self.decoded = self.hashed = self.loaded = 0
        array_digest, _pictures.array_digest = _pictures.array_digest, hash_array
        open_image, Image.open = Image.open, decode
        make_backbone, Backbone.__init__ = Backbone.__init__, construct
        try:
            with count_pictures() as seen:
                self.active = True
                yield self
        finally:
            self.active = False
            _pictures.array_digest = array_digest
            Image.open, Backbone.__init__ = open_image, make_backbone
        self.passed = sum(seen)


def search_over_heads(counter, paths, y):
    """Cross-validate and search over a classifier behind frozen features."""
    import numpy as np
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline

    from sktransfer import PretrainedFeatureExtractor

    pipe = make_pipeline(
        PretrainedFeatureExtractor("sktransfer_mini", image_size=32), LogisticRegression(max_iter=1000)
    )
    with counter.counting():
        GridSearchCV(pipe, {"logisticregression__C": [0.001, 0.01, 0.1, 1]}, cv=5).fit(paths, y)
        cross_val_score(pipe, paths, y, cv=5)
    where = "grid of 4 on 5 folds, and cross_val_score"
    counts = {
        f"{where}: files opened": counter.opened,
        f"{where}: pictures decoded": counter.decoded,
        f"{where}: pictures through the network": counter.passed,
        f"{where}: networks loaded": counter.loaded,
    }
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
    with counter.counting():
        GridSearchCV(pipe, {"logisticregression__C": [0.01, 1]}, cv=2).fit(arrays, y)
    # Each of the four fits and of the fit to all rows names every picture once.
    return counts | {"grid of 2 on 2 folds, on an array: pictures hashed": counter.hashed}


def search_over_backbones(counter, paths, y):
    """Rank two backbones, then search among them."""
    from sktransfer import BackboneSearch, rank_backbones

    backbones = {"trained": "sktransfer_mini", "random": ("sktransfer_mini", None)}
    with counter.counting():
        rank_backbones(backbones, paths, y, image_size=32)
        BackboneSearch(backbones=backbones, image_size=32, cv=2).fit(paths, y)
    where = "ranking of 2 backbones, and search"
    return {
        f"{where}: pictures through a network": counter.passed,
        f"{where}: networks loaded": counter.loaded,
    }


def training(counter, paths, y):
    """Fine-tune the last stage for some epochs, and search over its learning rate."""
    from sklearn.model_selection import GridSearchCV

    from sktransfer import FineTunedClassifier

    classifier = FineTunedClassifier("sktransfer_mini", trainable=1, image_size=32, max_epochs=4, random_state=0)
    with counter.counting():
        classifier.fit(paths, y).predict(paths)
    first = {
        "4 epochs of the last stage, and predict: pictures through the frozen part": counter.passed,
        "4 epochs of the last stage, and predict: pictures decoded": counter.decoded,
    }
    with counter.counting():
        GridSearchCV(classifier.set_params(max_epochs=1), {"lr": [0.001, 0.01]}, cv=2).fit(paths, y)
    return first | {
        "grid of 2 trainings on 2 folds: pictures through the frozen part": counter.passed,
        "grid of 2 trainings on 2 folds: networks loaded": counter.loaded,
    }


def sizes(counter, paths, y):
    """Pickle what is fitted, and what goes to a worker."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor
    from sktransfer._frozen import pack

    extractor = PretrainedFeatureExtractor("sktransfer_mini", image_size=32)
    pipe = make_pipeline(extractor, LogisticRegression(max_iter=1000)).fit(paths, y)
    head = FineTunedClassifier("sktransfer_mini", image_size=32, max_epochs=1, random_state=0).fit(paths, y)
    return {
        "extractor and logistic regression: pickled bytes": len(pickle.dumps(pipe)),
        "fine-tuned head: pickled bytes": len(pickle.dumps(head)),
        "network for a worker: bytes": len(pack((pipe[0].backbone_,))),
    }


def imports(counter, paths, y):
    """Count the modules that the package itself brings."""
    code = "import sys; before = len(sys.modules); import sktransfer; print(len(sys.modules) - before)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {"import sktransfer: modules": int(printed)}


def measure():
    """Run everything on small pictures of noise."""
    import numpy as np
    from common_frozen import make_pictures, write_pictures

    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(folder)
        paths = write_pictures(Path(folder), make_pictures(N_PICTURES, size=24))
        y = np.arange(N_PICTURES) % 2
        for job in (imports, search_over_heads, search_over_backbones, training, sizes):
            counts |= job(counter, paths, y)
    return counts


def main():
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make ceilings of the figures measured")
    write = parser.parse_args().write
    counts = measure()
    if write:
        CEILINGS.write_text(json.dumps(ceilings_of(counts), indent=1) + "\n")
    ceilings = json.loads(CEILINGS.read_text())
    width = max(map(len, counts))
    for name, value in counts.items():
        print(f"{name:<{width}}  {value:>9,}  (at most {ceilings.get(name, 0):,})")
    lines = excesses(counts, ceilings)
    for line in lines:
        print(f"TOO MUCH: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "tests"))  # their pictures, and their counter of pictures in networks
    sys.exit(main())
