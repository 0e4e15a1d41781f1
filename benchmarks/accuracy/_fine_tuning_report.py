"""The page of ``fine_tuning.py``: tables and remarks, all from the recorded figures."""

from collections import defaultdict

import numpy as np
from _common import markdown_table, provenance

PLAIN, SCRATCH = "all", "from scratch"
FROZEN = "all, BatchNorm frozen"


def ordered(records, key):
    """Values of a field, in the order of their first appearance."""
    return list(dict.fromkeys(record[key] for record in records))


def accuracies(records):
    """Accuracy in percent by (dataset, size, strategy), by seed."""
    found = defaultdict(dict)
    for record in records:
        found[record["dataset"], record["size"], record["strategy"]][record["seed"]] = 100 * record["accuracy"]
    return found


def mean_and_spread(by_seed):
    """Text of one cell."""
    values = list(by_seed.values())
    if not values:
        return "-"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def differences(found, strategy, reference, size, datasets):
    """Strategy minus reference for every data set and seed that has both."""
    pairs = []
    for dataset in datasets:
        one, other = found[dataset, size, strategy], found[dataset, size, reference]
        pairs += [one[seed] - other[seed] for seed in sorted(set(one) & set(other))]
    return np.array(pairs)


def summary(pairs):
    """Mean and standard error, the latter NaN for a single pair."""
    error = np.std(pairs, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.nan
    return float(np.mean(pairs)), float(error)


def difference_text(pairs):
    """Mean difference with its standard error, bold beyond two of them."""
    if not len(pairs):
        return "-"
    mean, error = summary(pairs)
    text = f"{mean:+.1f} ± {error:.1f}" if np.isfinite(error) else f"{mean:+.1f}"
    return f"**{text}**" if np.isfinite(error) and abs(mean) > 2 * error else text


def dataset_tables(records, found):
    """One table for each data set."""
    sizes, strategies = ordered(records, "size"), ordered(records, "strategy")
    for dataset in ordered(records, "dataset"):
        drawn = {record["size"]: record["n_train"] for record in records if record["dataset"] == dataset}
        header = ["strategy", *(f"{size} ({drawn[size]} pictures)" if size in drawn else size for size in sizes)]
        rows = [[name, *(mean_and_spread(found[dataset, size, name]) for size in sizes)] for name in strategies]
        yield f"## {dataset}\n\n{markdown_table(header, rows)}"


def comparison(records, found, reference):
    """Every strategy against one of them."""
    sizes, datasets = ordered(records, "size"), ordered(records, "dataset")
    rows = []
    for name in ordered(records, "strategy"):
        if name != reference:
            pairs = [differences(found, name, reference, size, datasets) for size in sizes]
            spent = [record["seconds"]["fit"] for record in records if record["strategy"] == name]
            rows.append([name, *map(difference_text, pairs), f"{np.mean(spent):.1f}"])
    header = [f"strategy minus {reference!r}", *sizes, "CPU s a fit"]
    return markdown_table(header, rows) if rows else ""


def verdict(pairs, size):
    """Plain words for a paired difference."""
    if len(pairs) < 2:
        return None
    mean, error = summary(pairs)
    if abs(mean) <= 2 * error:
        return f"no clear difference at {size} ({mean:+.1f} ± {error:.1f})"
    return f"{'better' if mean > 0 else 'worse'} by {abs(mean):.1f} ± {error:.1f} at {size}"


def remarks(records, found):
    """Yield what the figures say."""
    sizes, datasets, strategies = (ordered(records, key) for key in ("size", "dataset", "strategy"))
    for name in (PLAIN, "head only"):
        if {name, SCRATCH} <= set(strategies):
            yield scratch_remark(found, name, sizes, datasets)
    few = [size for size in sizes if size != "all"][:2]
    for name in strategies:
        reference, title = (
            (FROZEN, "fine-tuning with BatchNorm frozen") if "frozen, " in name else (PLAIN, "plain fine-tuning")
        )
        if name not in (PLAIN, SCRATCH):
            found_words = [verdict(differences(found, name, reference, size, datasets), size) for size in few]
            words = "; ".join(filter(None, found_words))
            if words:
                yield f"{name}, against {title} with few labels a class: {words}."
    for size in sizes:
        there = [name for name in strategies if any(found[d, size, name] for d in datasets)]
        complete = [d for d in datasets if all(found[d, size, name] for name in there)]
        if complete:
            means = {
                name: float(np.mean([np.mean(list(found[d, size, name].values())) for d in complete])) for name in there
            }
            best = sorted(means, key=means.get, reverse=True)[:3]
            yield (
                f"Highest mean over {len(complete)} data sets at {size} labels a class: "
                + ", ".join(f"{name} ({means[name]:.1f} %)" for name in best)
                + "."
            )


def scratch_remark(found, name, sizes, datasets):
    """Where a strategy does not beat training from scratch."""
    title = "Plain fine-tuning" if name == PLAIN else "The head alone"
    worse, unclear, n = [], [], 0
    for size in sizes:
        for dataset in datasets:
            pairs = differences(found, name, SCRATCH, size, [dataset])
            if not len(pairs):
                continue
            n += 1
            mean, error = summary(pairs)
            place = f"{dataset} at {size} ({mean:+.1f})"
            if mean <= 0:
                worse.append(place)
            elif not mean > 2 * error:
                unclear.append(place)
    words = [f"{title} is compared with training from scratch at {n} places (data set and labels a class)."]
    words.append(f"It fails to beat it on {', '.join(worse)}." if worse else "It beats it in the mean at all of them.")
    if unclear:
        words.append(f"Ahead by less than two standard errors of the seeds: {', '.join(unclear)}.")
    return " ".join(words)


def introduction(setting):
    """Say what was done."""
    low, high = setting["epochs"]
    groups = {
        "scratch": "from scratch",
        "head": "the head alone, and the probe of LP-FT",
        "fine": "all others",
        "frozen": "BatchNorm frozen",
    }
    rates = "".join(
        f"\n- {groups[group]}: {rate:g}, of {setting['candidates'][group]}" for group, rate in setting["rates"].items()
    )
    return (
        "# Ways of fine-tuning, MobileNetV2\n\n"
        f"Test accuracy in percent at 5, 10, 20 and all labels a class: mean and standard deviation of the seeds, each "
        "of which draws labels and trains anew (a figure without deviation is a single seed). "
        f"Pictures at {setting['image_size']} pixels (far below the network's "
        f"224, for time), no augmentation, batches of {setting['batch']}, AdamW with a cosine schedule, about "
        f"{setting['steps']} steps in {low} to {high} epochs; the head alone {setting['head_epochs']} epochs, before "
        f'the others in LP-FT. "all" labels are at most {setting["most"]} pictures (of 4708 in pneumonia_mnist, '
        "drawn in the proportion of the classes); ucmerced_subset has 16 labels a class, hence no column of 20. All "
        "strategies but the head get the same number of steps, which is short for training from scratch and for "
        "gradual unfreezing, which at less than 8 epochs (many labels) never comes to the first of seven stages.\n\n"
        "Learning rates were chosen by a rule fixed beforehand, without any test picture: the best mean accuracy of "
        "two draws of 10 labels a class on 150 other training pictures of flowers5, draws that the tables do not use.\n"
        f"{rates}"
    )


def report(records, setting):
    """Return the page as markdown.

    Parameters
    ----------
    records : list of dict
        Finished cells.
    setting : dict
        What ``fine_tuning.py`` ran with.
    """
    found = accuracies(records)
    parts = [introduction(setting)]
    if setting["missing"]:
        parts.append(f"**{setting['missing']} cells are not computed yet.**")
    parts += dataset_tables(records, found)
    parts.append(
        "## Against plain fine-tuning\n\nMean difference over data sets and seeds, each pair with the same labels, and "
        "its standard error; bold beyond two standard errors. Of twenty comparisons without any true difference one "
        f"would be bold.\n\n{comparison(records, found, PLAIN)}"
    )
    if FROZEN in ordered(records, "strategy"):
        parts.append(f"## Against fine-tuning with BatchNorm frozen\n\n{comparison(records, found, FROZEN)}")
    parts.append("## What the figures say\n\n" + "\n".join(f"- {remark}" for remark in remarks(records, found)))
    parts.append(
        "`python benchmarks/accuracy/fine_tuning.py`, " + provenance("sktransfer", "torch", "timm", "scikit-learn")
    )
    return "\n\n".join(parts)
