"""What each family of timm's can do here: ``python benchmarks/families.py``.

One small member of each of timm's model modules, with random weights: extraction, fine-tuning of its last stage, files
and pickles, as the backbone of another estimator, and on request ONNX. Each network has a process of its own with a
time limit. Writes ``results/families.md``; names given as arguments are tried alone and printed.
"""

import argparse
import json
import multiprocessing
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE / "results" / "families.md"
SIZES = (64, 96, 128, None)  # the first that a network takes; None is its own
SMALL = ("test_", "atto", "femto", "pico", "nano", "tiny", "xxs", "xxt", "small", "_s0", "_b0", "_x0", "_t0", "_050")
STEPS = ("transform", "train", "save", "pickle", "backbone", "onnx")
# Beside the small one of each family: members that differ from it in kind.
MORE = (
    "convnext_atto",
    "deit_tiny_distilled_patch16_224",
    "mobilenetv2_100",
    "repvit_m0_9",
    "resnet18",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "vit_tiny_patch16_224",
)


def small_members():
    """Name a small member of each of timm's modules: of six whose names say so, the one with the fewest weights."""
    import timm
    import torch

    found = {}
    for family in timm.list_modules():
        names = timm.list_models(module=family)
        sizes = {}
        for name in sorted(names, key=lambda name: (not any(word in name for word in SMALL), len(name), name))[:6]:
            try:
                with torch.device("meta"):
                    network = timm.create_model(name)
            except (AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError):
                continue  # computes with its weights while it is built
            sizes[name] = sum(parameter.numel() for parameter in network.parameters())
        found[family] = min(sizes, key=sizes.get) if sizes else min(names, key=len)
    return found


def attempt(name, *, onnx):
    """Try everything with one network; give a word or an error for each step."""
    import numpy as np

    from sktransfer import FineTunedClassifier, PretrainedFeatureExtractor

    X = np.random.default_rng(0).integers(0, 256, (4, 80, 80, 3), dtype=np.uint8)
    y = np.array(["a", "b", "a", "b"])
    found = {"name": name}
    for size in SIZES:
        options = {"weights": None, "image_size": size, "batch_size": 4, "cache": None}
        features, word = _outcome(lambda: PretrainedFeatureExtractor(name, **options).fit_transform(X))  # noqa: B023
        found.update(transform=word, size=size or "own")
        if features is not None:
            break
    if features is None:
        return found
    found["transform"] = "yes" if np.isfinite(features).all() else "features are not finite"
    options = {"weights": None, "image_size": size, "batch_size": 4, "random_state": 0, "max_epochs": 1, "lr": 1e-3}
    classifier, found["train"] = _outcome(lambda: FineTunedClassifier(name, trainable=1, **options).fit(X, y))
    if classifier is None:
        return found
    expected = classifier.predict_proba(X)
    tuned = _outcome(lambda: PretrainedFeatureExtractor(classifier, cache=None).fit_transform(X))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "saved"

        def through_file():
            classifier.save(path)
            return FineTunedClassifier.load(path).predict_proba(X)

        found["save"] = _same(_outcome(through_file), expected)
        found["pickle"] = _same(_outcome(lambda: pickle.loads(pickle.dumps(classifier)).predict_proba(X)), expected)
        found["backbone"] = tuned[1]
        if tuned[0] is not None and path.is_file():
            again = _outcome(lambda: PretrainedFeatureExtractor(str(path), cache=None).fit_transform(X))
            found["backbone"] = _same(again, tuned[0])
        if onnx:
            found["onnx"] = _outcome(lambda: classifier.export_onnx(Path(folder) / "graph.onnx") or True)[1]
    return found


def _outcome(step: Callable):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return step(), "yes"
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _same(outcome, expected):
    value, word = outcome
    if value is None:
        return word
    distance = float(abs(value - expected).max())
    return "yes" if distance <= 1e-6 * max(1.0, float(abs(expected).max())) else f"differs by {distance:.1e}"


def in_a_child(name, *, onnx, limit):
    """Run :func:`attempt` in a process of its own, a fork: what is imported is imported once."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    start = time.monotonic()
    child = context.Process(target=lambda: sender.send(attempt(name, onnx=onnx)))
    child.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(limit) else {"name": name, "transform": f"took more than {limit} s"}
    except EOFError:
        child.join()
        found = {"name": name, "transform": f"its process ended with status {child.exitcode}"}
    child.kill()
    child.join()
    return {**found, "seconds": round(time.monotonic() - start)}


def table(rows, versions):
    """Lay out rows as a page; errors stand below the table by number."""
    errors = []

    def cell(word):
        if word is None or word == "yes":
            return word or ""
        if word not in errors:
            errors.append(word)
        return f"no [{errors.index(word) + 1}]"

    lines = [
        "# timm's families",
        "",
        f"By `python benchmarks/families.py` with {versions}. Random weights, four pictures, one epoch of the last",
        "stage; *size* is the `image_size` tried (the first of 64, 96, 128 and the network's own that it takes).",
        "*save* and *pickle*: predictions of the loaded classifier are equal; *backbone*: the classifier and its file",
        "as backbones give equal features; *onnx* was tried where a word stands.",
        "",
        "| family | network | size | " + " | ".join(STEPS) + " |",
        "|---|---|---|" + "---|" * len(STEPS),
    ]
    for row in rows:
        cells = [row.get("family", ""), row["name"], str(row.get("size", "")), *(cell(row.get(s)) for s in STEPS)]
        lines.append("| " + " | ".join(cells) + " |")
    whole = sum(all(row.get(step, "yes") == "yes" for step in STEPS) and "save" in row for row in rows)
    lines += ["", f"{whole} of {len(rows)} do all that was tried.", ""]
    lines += [f"{number}. {' '.join(word.split())}" for number, word in enumerate(errors, 1)]
    return "\n".join(lines).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="networks to try alone")
    parser.add_argument("--onnx", action="store_true", help="export each to ONNX too, which is slow")
    parser.add_argument("--limit", type=int, default=240, help="seconds for each network")
    arguments = parser.parse_args()
    import sktransfer.backbones  # noqa: F401 - before timm: it looks after torchvision

    options = {"onnx": arguments.onnx, "limit": arguments.limit}
    if arguments.names:
        for name in arguments.names:
            print(json.dumps(in_a_child(name, **options), indent=1), flush=True)
        return
    members = small_members()
    wanted = [(family, name) for family, name in members.items()]
    wanted += [("", name) for name in MORE if name not in members.values()]
    rows = []
    versions = ", ".join(f"{package} {version(package)}" for package in ("timm", "torch"))
    for family, name in wanted:
        rows.append({"family": family, **in_a_child(name, **options)})
        print(json.dumps(rows[-1]), flush=True)
        TABLE.write_text(table(rows, versions), encoding="utf-8")


if __name__ == "__main__":
    main()
