"""What the features of many pictures cost, by measured rates: the table of docs/user_guide/scaling.rst.

``python benchmarks/plan.py --rate resnet50=7 --width resnet50=2048`` adds a network; ``--cores``, ``--price`` and
``--kilobytes`` change the plan.
"""

import argparse

# Pictures per second of one CPU core, JPEG files of 500 x 375 pixels and 51 kB to features at 224 pixels (bench.md).
RATES = {"mobilenetv2_100": 73, "resnet18": 25}
WIDTHS = {"mobilenetv2_100": 1280, "resnet18": 512}
NUMBERS = (10**6, 10**8)
PARTITION = 10_000  # pictures in a file, and in a task of Dask
SCHEDULER = 1e-3  # seconds of Dask's scheduler a task


def plan(n, rate, width, *, cores, price, kilobytes):
    """Give the rows of one column of the table."""
    seconds = n / rate
    return {
        "core hours": seconds / 3600,
        "price": price * seconds / 3600,
        f"hours on {cores} cores": seconds / 3600 / cores,
        "read, GB": n * kilobytes / 1e6,
        f"read by {cores} cores, MB/s": cores * rate * kilobytes / 1e3,
        "features, GB": n * width * 4 / 1e9,
        f"tasks of {PARTITION}": n / PARTITION,
        "minutes a task": PARTITION / rate / 60,
        "seconds of the scheduler": n / PARTITION * SCHEDULER,
        "seconds of the scheduler, a picture a task": n * SCHEDULER,
    }


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", action="append", default=[], help="NETWORK=pictures per core second")
    parser.add_argument("--width", action="append", default=[], help="NETWORK=features")
    parser.add_argument("--cores", type=int, default=320)
    parser.add_argument("--price", type=float, default=0.04, help="of a core hour")
    parser.add_argument("--kilobytes", type=float, default=51, help="of a picture")
    given = parser.parse_args()
    rates = RATES | {name: float(rate) for name, rate in (entry.split("=") for entry in given.rate)}
    widths = WIDTHS | {name: int(width) for name, width in (entry.split("=") for entry in given.width)}
    options = {"cores": given.cores, "price": given.price, "kilobytes": given.kilobytes}
    columns = {
        f"{name}, {n:.0e}": plan(n, rate, widths[name], **options) for name, rate in rates.items() for n in NUMBERS
    }
    print("| |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} |", " | ".join(f"{column[row]:,.3g}" for column in columns.values()), "|")


if __name__ == "__main__":
    main()
