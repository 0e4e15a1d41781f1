"""
Quickstart: what transfer gains
===============================

Runs offline in a few minutes on two CPU cores, on pictures that come with the packages and on the bundled backbone
``sktransfer_mini``: ``make quickstart``.

1. **Few labels.** Handwritten digits, real scans of :func:`sklearn.datasets.load_digits`, ten of each labelled:
   learning from nothing, from frozen features, and by fine-tuning. First with each digit in colours and at a place of
   its own, as pictures in the wild differ in what does not matter; then as they were scanned, 8 x 8 pixels, centred,
   all in the same grey, where pixels show nearly everything and transfer has less to give.
2. **Texts and recordings.** The same with texts and sounds as X, made for the purpose by templates and formulas: small,
   and easier than what people write and microphones hear.
3. **Labels in another domain.** Upright shapes are labelled, shapes turned by about 45 degrees are to be classified
   (:func:`sktransfer.make_image_domains`): without and with domain adaptation.

``python docs/examples/quickstart.py --pictures FOLDER`` runs the first part on your own pictures instead, one folder a
class; ``--backbone`` takes any name of :func:`sktransfer.list_backbones`.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sktransfer import (
    AdaptedClassifier,
    FineTunedClassifier,
    MMDAdapter,
    PretrainedFeatureExtractor,
    clear_cache,
    load_folder,
    make_image_domains,
)

N_DRAWS = 3  # every accuracy is the mean over so many random choices of the pictures
MAX_TEST = 1000
N_DOMAIN = 300
# Markers that look like what they stand for: circle, square, triangle, cross, ring, star.
GLYPHS = ("o", "s", "^", "P", "$\\bigcirc$", "*")
SOURCE, TARGET, WRONG, INK = "#4477AA", "#EE7733", "#CC3311", "#333333"

# %%
# Part 1: few labels
# ------------------
# Three of the four classifiers end in a logistic regression; what it sees differs: pixels, features of a network with
# random weights, features of a pretrained one. The fourth also trains the last stages of the pretrained network.


def linear_model():
    # A network's features differ much in size, and there are more of them than labels.
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))


def pixels(pictures):
    """Rows of pixels from 0 to 1: files at 32 x 32, arrays as they are."""
    if not isinstance(pictures, np.ndarray):
        pictures = np.stack([np.asarray(Image.open(path).convert("RGB").resize((32, 32))) for path in pictures])
    rows = pictures.reshape(len(pictures), -1)
    return rows / 255 if rows.dtype == np.uint8 else rows


def few_label_models(backbone):
    # The bundled backbone is this timm network at this size.
    untrained = (
        {"backbone": "mobilenetv2_050", "image_size": 96} if backbone == "sktransfer_mini" else {"backbone": backbone}
    )
    return {
        "no transfer: pixels": make_pipeline(FunctionTransformer(pixels), LogisticRegression(max_iter=1000)),
        "no transfer: random network": make_pipeline(
            PretrainedFeatureExtractor(**untrained, weights=None), linear_model()
        ),
        "frozen features": make_pipeline(PretrainedFeatureExtractor(backbone), linear_model()),
        "fine-tuning, last 2 stages": FineTunedClassifier(
            backbone, trainable=2, max_epochs=20, batch_size=16, random_state=0
        ),
    }


def digit_tasks():
    """Real scans twice: each in colours and at a place of its own, and as they are."""
    X, y, domain = make_image_domains(1100, 1, kind="digits", source="colored", random_state=0)
    scans = load_digits()
    return {
        "Handwritten digits, coloured and moved": (X[domain == "source"], y[domain == "source"]),
        "Handwritten digits, as scanned": (scans.data / 16, scans.target),
    }


def choose_labelled(y, n_labels, seed):
    """Choose `n_labels` pictures of each class to learn from, and up to MAX_TEST of the others to test on."""
    order = np.random.default_rng(seed).permutation(len(y))
    train = np.concatenate([order[y[order] == label][:n_labels] for label in np.unique(y)])
    return train, order[~np.isin(order, train)][:MAX_TEST]


def take(pictures, rows):
    return pictures[rows] if isinstance(pictures, np.ndarray) else [pictures[row] for row in rows]


def run_few_labels(X, y, n_labels, models):
    """Print a line for each model; give the first draw's test rows, what each model said of them, and the best one."""
    splits = [choose_labelled(y, n_labels, seed) for seed in range(N_DRAWS)]
    predictions, means = {}, {}
    for name, model in models.items():
        clear_cache()  # so that the time of the first draw holds all the work
        accuracies, seconds = [], []
        for train, test in splits:
            start = time.perf_counter()
            predicted = model.fit(take(X, train), y[train]).predict(take(X, test))
            seconds.append(time.perf_counter() - start)
            accuracies.append(accuracy_score(y[test], predicted))
            predictions.setdefault(name, predicted)
        print_line(name, accuracies, seconds)
        means[name] = np.mean(accuracies)
    return splits[0][1], predictions, max(means, key=means.get)


def print_line(name, accuracies, seconds):
    print(f"  {name:<32}{np.mean(accuracies):>8.1%}   +- {np.std(accuracies):.1%}{seconds[0]:>9.1f} s", flush=True)


# %%
# Part 2: texts and recordings
# ----------------------------
# Of the words of a text few come again in ten labelled ones a class; features know which words are alike. Sounds of
# four kinds come at any pitch and loudness, with noise.

WORDS = {
    "books": "novel author chapter poem library paperback story plot publisher essay biography page verse fiction",
    "kitchen": "kettle pan oven knife blender saucepan spoon toaster recipe dough whisk plate cutlery stove bowl",
    "music": "guitar concert album melody drum orchestra singer piano chorus violin tune rhythm band song choir",
    "sport": "football tennis goal referee stadium marathon coach league racket athlete swimming trophy match team",
}
PHRASES = (
    "I really like this {}",
    "the {} was better than the last one",
    "she talked about the {} all evening",
    "he gave me a {} for my birthday",
    "we had never seen such a {} before",
    "nothing is as good as a new {}",
)


def text_task():
    """Short texts about books, kitchens, music and sport."""
    rng = np.random.default_rng(0)
    y = np.array(sorted(WORDS) * 100)
    return [rng.choice(PHRASES).format(rng.choice(WORDS[topic].split())) for topic in y], y


def sound_task(rate=16000):
    """Seconds of sound: tones that rise, fall, waver or stay."""
    rng = np.random.default_rng(0)
    time = np.arange(rate) / rate
    bends = {"falling": -1.0 * time, "rising": 1.0 * time, "steady": 0 * time, "wavering": 0.2 * np.sin(40 * time)}
    y = np.array(sorted(bends) * 60)
    sounds = []
    for kind in y:
        hertz = rng.uniform(300, 1200) * 2 ** bends[kind]
        tone = np.sin(2 * np.pi * np.cumsum(hertz) / rate)
        sounds.append((rng.uniform(0.1, 0.5) * tone + 0.05 * rng.normal(size=rate)).astype(np.float32))
    return sounds, y


def spectra(sounds):
    """How loud each of 64 bands of pitch is, over the whole sound."""
    strength = np.abs(np.fft.rfft(np.stack(sounds))) ** 2
    return np.log(np.stack([band.sum(axis=1) for band in np.array_split(strength, 64, axis=1)], axis=1))


def other_tasks():
    """Texts and sounds, each with a model that transfers nothing and one that does."""
    return {
        "Texts about four subjects": (
            *text_task(),
            {
                "no transfer: TF-IDF": make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)),
                "frozen features of texts": make_pipeline(
                    PretrainedFeatureExtractor("text:sktransfer_mini"), LogisticRegression(C=10, max_iter=1000)
                ),
            },
        ),
        "Sounds that rise, fall, waver or stay": (
            *sound_task(),
            {
                "no transfer: spectrum": make_pipeline(FunctionTransformer(spectra), linear_model()),
                "frozen features of sounds": make_pipeline(
                    PretrainedFeatureExtractor("audio:sktransfer_mini", layer=1, pooling="time"), linear_model()
                ),
            },
        ),
    }


# %%
# Part 3: labels in another domain
# --------------------------------
# Both classifiers see the same features. The adapted one also sees pictures of the target, without labels; accuracy is
# counted on target pictures that nothing has seen.


def domain_draw(seed):
    X, y, domain = make_image_domains(
        N_DOMAIN, 2 * N_DOMAIN, kind="shapes", source="plain", target="rotated", random_state=seed
    )
    known = np.where(domain == "target", -1, y)
    fit, test = slice(0, 2 * N_DOMAIN), slice(2 * N_DOMAIN, None)
    return (X[fit], known[fit], domain[fit]), (X[test], y[test]), y[fit]


def run_domains(backbone):
    """Print a line for each model; give what the picture shows of the first draw, and the mean accuracies."""
    models = {
        "frozen features, no adaptation": LogisticRegression(max_iter=1000),
        "domain adaptation (MMDAdapter)": AdaptedClassifier(
            LogisticRegression(max_iter=1000), MMDAdapter(kernel="rbf", conditional=0.5)
        ),
    }
    accuracies, seconds, drawn = {name: [] for name in models}, {name: [] for name in models}, []
    clear_cache()
    for seed in range(N_DRAWS):
        (X, y, domain), (X_test, y_test), truth = domain_draw(seed)
        start = time.perf_counter()
        features = make_pipeline(PretrainedFeatureExtractor(backbone), StandardScaler())
        Z, Z_test = features.fit_transform(X), features.transform(X_test)
        features_took = time.perf_counter() - start
        source = domain == "source"
        for name, model in models.items():
            start = time.perf_counter()
            if isinstance(model, AdaptedClassifier):
                model.fit(Z, y, sample_domain=domain)
            else:
                model.fit(Z[source], y[source])
            accuracies[name].append(model.score(Z_test, y_test))
            seconds[name].append(features_took + time.perf_counter() - start)
        drawn.append((X, truth, domain, Z, model.transform(Z, sample_domain=domain)))
    for name in models:
        print_line(name, accuracies[name], seconds[name])
    return drawn[0], [float(np.mean(values)) for values in accuracies.values()]


# %%
# Pictures
# --------


def shorten(name, length):
    name = str(name)
    return name if len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def plot_confusion(truth, predictions, class_names, winner):
    """Confusion matrices of the pixels and of the best model, in percent of each true class."""
    shown = ["no transfer: pixels", winner] if winner != "no transfer: pixels" else [winner, "frozen features"]
    names = [shorten(name, 16) for name in class_names]
    long = max(map(len, names)) > 3
    side = min(max(4.0, 0.2 * len(names)), 12.0)
    fig, axes = plt.subplots(
        1, 2, figsize=(2 * side + 3, side + (2.2 if long else 1.4)), layout="constrained", sharey=True
    )
    for ax, name in zip(axes, shown, strict=True):
        shares = 100 * confusion_matrix(truth, predictions[name], labels=class_names, normalize="true")
        display = ConfusionMatrixDisplay(shares, display_labels=names).plot(
            ax=ax,
            cmap="Blues",
            colorbar=False,
            include_values=len(names) <= 12,
            values_format=".0f",
            xticks_rotation="vertical" if long else "horizontal",
            im_kw={"vmin": 0, "vmax": 100},
        )
        if display.text_ is not None:
            for text, share in zip(display.text_.flat, shares.flat, strict=True):
                text.set(visible=share >= 0.5, color="white" if share > 55 else INK)
        best = "best: " if name == winner else ""
        ax.set_title(f"{best}{name}\n{accuracy_score(truth, predictions[name]):.1%} right", color=INK, pad=10)
        ax.set(xlabel="predicted", ylabel="true" if ax is axes[0] else "")
        ax.tick_params(length=0, labelsize=min(10.0, 60 * side / len(names)))
        ax.spines[:].set_visible(False)
    untested = [label for label in class_names if label not in truth]
    if untested:
        some = ", ".join(shorten(label, 16) for label in untested[:3])
        fig.supxlabel(f"empty rows: no picture to test on of {some}{', ...' if len(untested) > 3 else ''}", fontsize=9)
    fig.colorbar(display.im_, ax=axes, label="% of the true class", shrink=0.75, aspect=30).outline.set_visible(False)
    return fig


def plot_predictions(pictures, truth, predicted, winner):
    """The first test pictures as they come, wrong predictions marked: full rows of them."""
    n_columns = min(8, len(truth))
    n_rows = min(3, len(truth) // n_columns)
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=(max(1.4 * n_columns, 5.6), 0.8 + 1.7 * n_rows), layout="constrained", squeeze=False
    )
    for ax, picture, true, said in zip(axes.flat, pictures, truth, predicted, strict=False):
        right = said == true
        ax.set(xticks=[], yticks=[])
        ax.imshow(as_image(picture), cmap="gray_r")
        title = shorten(said, 12) if right else f"{shorten(said, 12)}\nis {shorten(true, 9)}"
        ax.set_title(title, color=INK if right else WRONG, fontsize=8, pad=4)
        ax.spines[:].set(color="#CCCCCC" if right else WRONG, linewidth=1 if right else 3)
    n_shown = n_rows * n_columns
    n_right = int(np.sum(np.asarray(truth[:n_shown]) == predicted[:n_shown]))
    fig.suptitle(f"{winner[0].upper()}{winner[1:]}: {n_right} of the first {n_shown} test pictures right", color=INK)
    return fig


def as_image(picture):
    if isinstance(picture, np.ndarray):
        return picture.reshape(8, 8) if picture.ndim == 1 else picture
    return np.asarray(Image.open(picture).convert("RGB").resize((128, 128)))


def plot_domains(drawn, accuracies):
    """Some pictures of both domains, and their features before and after adaptation."""
    X, y, domain, before, after = drawn
    fig = plt.figure(figsize=(11, 7.2), layout="constrained")
    strips, maps = fig.subfigures(2, 1, height_ratios=[1, 3])
    for row, (role, colour) in enumerate((("source", SOURCE), ("target", TARGET))):
        for column, picture in enumerate(X[domain == role][:12]):
            ax = strips.add_subplot(2, 12, 12 * row + column + 1)
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(color=colour, linewidth=2.5)
            if column == 0:
                ax.set_ylabel(f"{role}\n{'labelled' if role == 'source' else 'no labels'}", color=colour, fontsize=11)
    axes = maps.subplots(1, 2)
    titles = (
        f"Features: {accuracies[0]:.0%} of the target right",
        f"Features adapted by MMDAdapter: {accuracies[1]:.0%} of the target right",
    )
    for ax, rows, title in zip(axes, (before, after), titles, strict=True):
        place = PCA(2).fit_transform(rows)
        for role, colour in (("source", SOURCE), ("target", TARGET)):
            for label, glyph in enumerate(GLYPHS):
                chosen = (domain == role) & (y == label)
                ax.scatter(*place[chosen].T, marker=glyph, color=colour, s=38, alpha=0.75, linewidths=0)
        ax.set_title(title, color=INK)
        ax.set(xticks=[], yticks=[], xlabel="first principal component", ylabel="second")
        ax.spines[["top", "right"]].set_visible(False)
    for role, colour in (("source", SOURCE), ("target", TARGET)):
        axes[0].scatter([], [], marker="o", color=colour, label=role)
    maps.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return fig


# %%
# All together
# ------------


def is_picture(path):
    """Whether a file can be decoded; says so where it cannot."""
    try:
        Image.open(path).convert("RGB")
    except OSError as error:
        print(f"{path} is left out: {error}")
        return False
    return True


def read_pictures(folder):
    """Paths and class names of the pictures of a folder that can be read."""
    X, y = load_folder(folder, kind="images")
    readable = np.array([is_picture(path) for path in X])
    return take(X, np.flatnonzero(readable)), np.array(y)[readable]


def parse_arguments():
    parser = argparse.ArgumentParser(description="What transfer gains, on pictures.")
    parser.add_argument("--pictures", type=Path, help="a folder of your own pictures, one subfolder a class")
    parser.add_argument("--labels", type=int, default=10, help="labelled pictures a class (default 10)")
    parser.add_argument("--backbone", default="sktransfer_mini", help="any name of sktransfer.list_backbones()")
    parser.add_argument("--output", type=Path, default=Path("build/quickstart"), help="where the pictures go")
    arguments = parser.parse_args()
    if arguments.labels < 1:
        parser.error(f"--labels {arguments.labels}: expected at least 1.")
    if arguments.pictures is None:
        return arguments, digit_tasks()
    try:
        X, y = read_pictures(arguments.pictures)
    except (OSError, ValueError) as error:
        parser.error(f"--pictures {arguments.pictures}: {error}")
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        parser.error(
            f"--pictures {arguments.pictures}: expected at least two subfolders with pictures, one a class, found "
            f"{len(classes)}."
        )
    if counts.max() <= arguments.labels:
        parser.error(
            f"--pictures {arguments.pictures}: {counts.max()} pictures in the largest class, and --labels "
            f"{arguments.labels} of each to learn from leave none to test on. Pass fewer --labels."
        )
    return arguments, {f"Pictures of {arguments.pictures}": (X, y)}


def main():
    arguments, tasks = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(f"Accuracy: mean and standard deviation over {N_DRAWS} random draws. Time: all the work of the first draw.")
    figures = {}
    for title, (X, y) in tasks.items():
        counts = np.unique(y, return_counts=True)[1]
        n_test = len(choose_labelled(y, arguments.labels, 0)[1])
        n_labels = f"{'up to ' if counts.min() < arguments.labels else ''}{arguments.labels}"
        print(f"\n{title}: {len(counts)} classes, {n_labels} labelled pictures a class, {n_test} to test on")
        test, predictions, best = run_few_labels(X, y, arguments.labels, few_label_models(arguments.backbone))
        if not figures:
            figures["confusion_matrix"] = plot_confusion(y[test], predictions, np.unique(y), best)
            figures["predictions"] = plot_predictions(take(X, test), y[test], predictions[best], best)
    if not arguments.pictures:
        for title, (X, y, models) in other_tasks().items():
            n_test = len(y) - arguments.labels * len(np.unique(y))
            print(f"\n{title}: {arguments.labels} labelled a class, {n_test} to test on")
            run_few_labels(X, y, arguments.labels, models)
        print(
            f"\nShapes, upright with labels, turned without: {N_DOMAIN} pictures of each, {N_DOMAIN} more turned "
            "ones to test on"
        )
        figures["domains"] = plot_domains(*run_domains(arguments.backbone))
    for name, figure in figures.items():
        figure.savefig(arguments.output / f"{name}.png", dpi=120, bbox_inches="tight", pad_inches=0.15)
    print(f"\nFigures are in {arguments.output}: {', '.join(f'{name}.png' for name in figures)}")


if __name__ == "__main__":
    main()
