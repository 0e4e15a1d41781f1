"""Recordings: digits and emotions of a speaker who was never heard, by YAMNet's layers and by MFCC statistics.

Layer and pooling are chosen by leaving out one of the other speakers at a time; no label of the tested speaker is read.
Run with ``python benchmarks/accuracy/recordings.py``; ``--tuned`` adds fine-tuning (half an hour on one core). Writes
``recordings.md``.
"""

import argparse
import itertools
import sys

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from scipy.fft import dct
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktransfer import AudioBackbone, DomainStandardizer, FineTunedClassifier, PretrainedFeatureExtractor
from sktransfer.modalities import LogMel

YAMNET = "mobilenetv1_100.yamnet_audioset"
LABELS = {"fsdd": "digit", "emodb": "emotion"}
LAYERS = (None, 3, 2, 1)
BLOCKS = tuple(f"blocks.{place}" for place in ("2.0", "2.1", "3.0", "3.1", "3.2", "3.3", "3.5", "4.1"))
STAGES = (3, 2, 1)  # of the bundled network
POOLINGS = ("avg", "time")


def recordings(name):
    """Give recordings as (array, rate) pairs, their labels, and who speaks."""
    X, y, speaker = [], [], []
    for file in sorted((data_folder() / "data" / name).glob("*.npz")):
        z = np.load(file)
        bounds = itertools.pairwise(z["offsets"].tolist())
        X += [(z["audio"][start:stop], int(z["rate"])) for start, stop in bounds]
        y += z[LABELS[name]].tolist()
        speaker += [file.stem] * len(z[LABELS[name]])
    return X, np.array(y), np.array(speaker)


def mfcc_statistics(X):
    """Means and deviations over time of 20 cepstral coefficients and their slopes, which need no network."""
    rows = []
    for samples, rate in X:
        log_mel = LogMel(sample_rate=rate, n_mels=40, n_fft=512, f_min=50, f_max=rate / 2)
        padded = np.pad(samples / 32768, (0, max(0, log_mel.samples_of(3) - len(samples))))
        cepstra = dct(log_mel(padded), axis=1, norm="ortho")[:, :20]
        both = np.hstack([cepstra, np.gradient(cepstra, axis=0)])
        rows.append(np.concatenate([both.mean(axis=0), both.std(axis=0)]))
    return np.array(rows)


def yamnet():
    """Describe the network, in its folder."""
    return AudioBackbone(f"local-dir:{data_folder()}/weights/{YAMNET}")


def mini(**options):
    """Describe the network that comes with the package."""
    return AudioBackbone("sktransfer_mini", **options)


def candidates(X, backbone, layers=LAYERS, poolings=POOLINGS):
    """Features of each layer and pooling, by name; all layers come from one pass."""
    found = {}
    for pooling in poolings:
        together = PretrainedFeatureExtractor(backbone, layer=layers, pooling=pooling).fit_transform(X)
        widths = [
            PretrainedFeatureExtractor(backbone, layer=layer, pooling=pooling).fit(X[:1]).n_features_out_
            for layer in layers
        ]
        for layer, part in zip(layers, np.split(together, np.cumsum(widths)[:-1], axis=1), strict=True):
            name = layer if isinstance(layer, str) else "last" if layer is None else f"stage {layer + 1}"
            found[f"{name}, {pooling}"] = part
    return found


def linear(features):
    """Give linear models of several strengths, by what is added to a name."""
    for strength in (0.3, 3.0):
        yield f", {strength}", make_pipeline(StandardScaler(), RidgeClassifier(alpha=strength * features.shape[1]))


def of_mfcc(features):
    """Give those, and support vector machines."""
    yield from linear(features)
    for strength in (1.0, 10.0):
        yield f", SVM {strength}", make_pipeline(StandardScaler(), SVC(C=strength))


def accuracy(model, features, y, train, test):
    """Accuracy of a model in percent."""
    return 100 * model.fit(features[train], y[train]).score(features[test], y[test])


def by_speaker(features, speaker):
    """Standardise each speaker's features by their own mean and deviation."""
    return DomainStandardizer(target_domain=speaker[0]).fit_transform(features, sample_domain=speaker)


def left_out(found, y, speaker, models=linear):
    """Accuracy on each speaker of the features and the model that are best on the others, each left out in turn."""
    candidates = {
        name + more: (features, model) for name, features in found.items() for more, model in models(features)
    }
    scores, chosen = [], []
    for tested in np.unique(speaker):
        others = np.flatnonzero(speaker != tested)
        folds = [(others[speaker[others] != one], others[speaker[others] == one]) for one in set(speaker[others])]

        def inner(name, folds=folds):
            features, model = candidates[name]
            return np.mean([accuracy(model, features, y, *fold) for fold in folds])

        best = max(candidates, key=inner)
        features, model = candidates[best]
        scores.append(accuracy(model, features, y, others, np.flatnonzero(speaker == tested)))
        chosen.append(best.rpartition(", ")[0])
    return scores, chosen


def tuned(X, y, speaker):
    """Accuracy on each speaker of the whole network trained on the others."""
    scores = []
    for tested in np.unique(speaker):
        model = FineTunedClassifier(
            yamnet(),
            trainable="all",
            augment="strong",
            lr=1e-3,
            max_epochs=15,
            random_state=0,
        )
        train, test = (np.flatnonzero(part) for part in (speaker != tested, speaker == tested))
        model.fit([X[i] for i in train], y[train])
        scores.append(100 * model.score([X[i] for i in test], y[test]))
        print(tested, scores[-1], file=sys.stderr)
    return scores


def main():
    """Fill and publish the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuned", action="store_true", help="fine-tune YAMNet too")
    arguments = parser.parse_args()
    sections = []
    for name, title in (("fsdd", "Digits (FSDD, 800 recordings)"), ("emodb", "Emotions (EMO-DB, 278 recordings)")):
        X, y, speaker = recordings(name)
        found = candidates(X, yamnet())
        kinds = {
            "MFCC statistics": ({"MFCC": mfcc_statistics(X)}, of_mfcc),
            "YAMNet, last layer, averaged": ({"last, avg": found["last, avg"]}, linear),
            "YAMNet, layer and pooling chosen": (found, linear),
            "YAMNet, block chosen, averaged": (candidates(X, yamnet(), BLOCKS, ("avg",)), linear),
            "audio:sktransfer_mini, stage chosen, averaged": (candidates(X, mini(), STAGES, ("avg",)), linear),
            "the same with random weights": (candidates(X, mini(weights=None), STAGES, ("avg",)), linear),
        }
        rows = []
        for how, change in (("as they are", lambda f: f), ("by speaker", lambda f, s=speaker: by_speaker(f, s))):
            for what, (features, models) in kinds.items():
                changed = {key: change(value) for key, value in features.items()}
                scores, chosen = left_out(changed, y, speaker, models)
                rows.append((what, how, *map(float, scores), float(np.mean(scores)), "; ".join(dict.fromkeys(chosen))))
                print(rows[-1], file=sys.stderr)
        if arguments.tuned:
            scores = tuned(X, y, speaker)
            rows.append(("YAMNet, all layers trained", "as they are", *scores, float(np.mean(scores)), ""))
        header = ("features", "standardised", *np.unique(speaker), "mean", "chosen")
        sections.append(f"## {title}\n\n{markdown_table(header, rows)}")
    publish(
        "recordings",
        "# Recordings of a speaker who was never heard\n\n"
        "Accuracy in percent on each speaker, learned from all others. Models: StandardScaler and RidgeClassifier, on\n"
        "MFCC statistics (means and deviations of 20 coefficients and of their slopes, no network) SVC too. Layer,\n"
        "pooling, model and its strength are those that are best where each of the others is left out in turn.\n"
        "By speaker: each speaker's features are standardised by their own mean and deviation, without labels.\n\n"
        + "\n\n".join(sections)
        + "\n\n`python benchmarks/accuracy/recordings.py"
        f"{' --tuned' * arguments.tuned}`, {provenance('sktransfer', 'torch', 'timm', 'scikit-learn', 'soundfile')}",
    )


if __name__ == "__main__":
    main()
