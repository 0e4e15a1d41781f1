"""Try a release: build it, look at what is in it, and use the wheel as someone who never saw the repository.

``make release-check``. What is tried is what is committed: the build runs in a copy of ``HEAD``, the sdist is built of
it and the wheel of the sdist. The wheel is then installed in an environment made from nothing, with the versions of
``constraints.txt``, and runs the README's first blocks there, in an empty folder. Nothing is uploaded.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_MEGABYTES = 6.0


def run(*words, **options):
    """Run a command, and stop where it fails."""
    subprocess.run([str(word) for word in words], check=True, **options)


def tracked():
    """Give the paths that git knows in HEAD."""
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.splitlines())


def build(place):
    """Build both archives from HEAD; give their paths."""
    copy, archive = place / "copy", place / "head.tar"
    copy.mkdir()
    run("git", "archive", "--format=tar", "-o", archive, "HEAD", cwd=ROOT)
    with tarfile.open(archive) as files:
        files.extractall(copy, filter="data")
    out = place / "dist"
    run(sys.executable, "-m", "build", "--outdir", out, copy, stdout=subprocess.DEVNULL)
    run(sys.executable, "-m", "twine", "check", "--strict", *out.iterdir())
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def wrong_with(sdist, wheel, known):
    """Give a line for each thing that is not as it should be."""
    with tarfile.open(sdist) as files:
        packed = {name.split("/", 1)[1] for name in files.getnames() if "/" in name}
        folders = {member.name.split("/", 1)[1] for member in files if member.isdir() and "/" in member.name}
    with zipfile.ZipFile(wheel) as files:
        installed = {name for name in files.namelist() if ".dist-info/" not in name}
    made = {"PKG-INFO", "setup.cfg"}
    found = [f"{name} is missing from the sdist" for name in sorted(known - packed)]
    own = {name for name in packed - folders - known - made if ".egg-info" not in name}
    found += [f"{name} is in the sdist and not in git" for name in sorted(own)]
    package = {name for name in known if name.startswith("sktransfer/")}
    found += [f"{name} is missing from the wheel" for name in sorted(package - installed)]
    found += [f"{name} is in the wheel and not of the package" for name in sorted(installed - package)]
    for path in (sdist, wheel):
        size = path.stat().st_size / 1e6
        print(f"{path.name}: {size:.2f} MB")
        if size >= MOST_MEGABYTES:
            found.append(f"{path.name} has {size:.2f} MB, at most {MOST_MEGABYTES:.0f} are allowed")
    return found


def use(wheel, place):
    """Install the wheel in an environment of its own, and run the README's first blocks there."""
    python = place / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", place / "venv")
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, cwd=place)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = subprocess.run(
        [python, "-c", "import sktransfer; print(sktransfer.__version__, sktransfer.__file__)"],
        cwd=place,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    version, file = where.stdout.split()
    print(f"{version} in {file}")
    if not file.startswith(str(place)):
        sys.exit(f"sktransfer was imported from {file}, not from the wheel")
    run(python, ROOT / "benchmarks" / "first_minutes.py", cwd=place, env=environment)
    return version


def main():
    """Build, look, and use."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--final", action="store_true", help="refuse a version that is one of development")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sdist, wheel = build(place)
        wrong = wrong_with(sdist, wheel, tracked())
        if wrong:
            sys.exit("\n".join(wrong))
        version = use(wheel, place)
    if arguments.final and "dev" in version:
        sys.exit(f"version {version} is one of development: set __version__ before a release")
    print("as it should be")


if __name__ == "__main__":
    main()
