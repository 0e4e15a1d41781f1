"""What ``n_views`` adds to a linear classifier on frozen features of few labelled pictures.

Features of an ImageNet MobileNetV2 at 96 pixels, of 300 pictures a set. Run ``python benchmarks/accuracy/views.py``; it
writes views.md beside itself.
"""

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import PretrainedFeatureExtractor

SETS = {"flowers5": "flowers5", "bccd": "bccd_cells", "hymenoptera": "hymenoptera"}
VIEWS, PICTURES, LABELS, DRAWS, PIXELS = (1, 2, 4), 300, 10, 10, 96
ENDINGS = (".jpg", ".jpeg", ".png")


def read(folder: str) -> tuple[list[str], np.ndarray]:
    """Paths and labels of some pictures of a set."""
    files = sorted(p for p in (data_folder() / "data" / folder).rglob("*") if p.suffix.lower() in ENDINGS)
    chosen = np.random.default_rng(0).permutation(len(files))[:PICTURES]
    return [str(files[i]) for i in chosen], np.array([files[i].parent.name for i in chosen])


def accuracy(features: np.ndarray, y: np.ndarray) -> float:
    """Accuracy in percent on the other pictures, a mean over draws of the labelled ones."""
    scores = []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        train = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:LABELS] for label in np.unique(y)])
        test = np.setdiff1d(np.arange(len(y)), train)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(features[train], y[train])
        scores.append(model.score(features[test], y[test]))
    return 100 * float(np.mean(scores))


def main() -> None:
    backbone = f"local-dir:{data_folder() / 'weights' / 'mobilenetv2_100.tf2_in1k'}"
    table = [[n_views] for n_views in VIEWS]
    for folder in SETS.values():
        files, y = read(folder)
        for row, n_views in zip(table, VIEWS, strict=True):
            extractor = PretrainedFeatureExtractor(backbone, image_size=PIXELS, n_views=n_views, n_jobs=1)
            row.append(accuracy(extractor.fit_transform(files), y))
    table = [[*row, float(np.mean(row[1:]))] for row in table]
    text = f"""# Several views of a picture: accuracy in percent

{provenance("torch", "timm", "scikit-learn")}

{markdown_table(["n_views", *SETS, "mean"], table)}

ImageNet MobileNetV2 at {PIXELS} pixels, {PICTURES} pictures a set; logistic regression (C=0.1, scaled columns) on
{LABELS} labels a class, tested on the others, means of {DRAWS} draws. Views pass the network one after the other, in
training and in prediction.
"""
    publish("views", text)


if __name__ == "__main__":
    main()
