"""How well published transferability scores order ten ImageNet networks by their accuracy after fine-tuning.

Recomputes the weighted Kendall tau from the figures that the Transfer-Learning-Library prints. DTD is left out: its
columns of LogME and NCE are one and the same there. Run with ``python benchmarks/accuracy/model_ranking.py``; writes
``model_ranking.md``.
"""

import csv

import numpy as np
from _common import data_folder, markdown_table, provenance, publish
from scipy.stats import weightedtau

SCORES = ("hscore", "nce", "logme", "leep")


def main():
    """Compute and publish the table."""
    path = data_folder() / "data" / "published_results" / "model_ranking.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    datasets = [name for name in dict.fromkeys(row["dataset"] for row in rows) if name != "DTD"]
    taus, table = {}, []
    for dataset in datasets:
        models = [row for row in rows if row["dataset"] == dataset]
        printed = next(row for row in models if row["model"] == "Weighted Tau")
        models = [row for row in models if row["model"] not in ("Weighted Tau", "Pearson Corr")]
        accuracy = [float(row["finetuned_acc"]) for row in models]
        for score in SCORES:
            taus[dataset, score] = weightedtau([float(row[score]) for row in models], accuracy).statistic
        table.append([dataset, *(f"{taus[dataset, score]:.3f} ({printed[score]})" for score in SCORES)])
    table.append(["mean", *(f"{np.mean([taus[dataset, score] for dataset in datasets]):.2f}" for score in SCORES)])
    publish(
        "model_ranking",
        "# Transferability scores and accuracy after fine-tuning, published figures\n\n"
        "Weighted Kendall tau of ten ImageNet networks, recomputed from the printed scores and accuracies (in brackets "
        f"as printed).\n\n{markdown_table(['target', *SCORES], table)}\n\n"
        f"`python benchmarks/accuracy/model_ranking.py`, {provenance('scipy')}",
    )


if __name__ == "__main__":
    main()
