"""Time what the machine needs for the README's first blocks, each in a process of its own.

From a folder of 300 pictures to a fitted and scored model, a saved file, and a prediction from another process. With
``--python`` the blocks run in another environment, as `tools/release_check.py` does with the wheel.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
AT_MOST = 60.0  # seconds of the processor for all blocks: on a busy machine the clock says how busy it was


def first_blocks(readme=README):
    """Give the first block and those that follow it in other processes."""
    first, *others = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    following = [block for block in others if block.startswith("# In another process")]
    return [first, *following]


def run_blocks(python=sys.executable):
    """Run the blocks in an empty folder; give the seconds of each, of the clock and of the processor, and its lines."""
    with tempfile.TemporaryDirectory() as folder:
        for block in first_blocks():
            start, worked = time.perf_counter(), _processor_time()
            done = subprocess.run([python, "-c", block], cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
            yield time.perf_counter() - start, _processor_time() - worked, done.stdout.splitlines()


def _processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs the blocks")
    arguments = parser.parse_args()
    total = total_worked = 0.0
    for number, (seconds, worked, lines) in enumerate(run_blocks(arguments.python), start=1):
        total, total_worked = total + seconds, total_worked + worked
        print(f"block {number}: {seconds:.1f} s, {worked:.1f} s of the processor; {', '.join(lines)}", flush=True)
    print(f"together {total:.1f} s, {total_worked:.1f} s of the processor, of which at most {AT_MOST:.0f} s")
    return 0 if total_worked <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
