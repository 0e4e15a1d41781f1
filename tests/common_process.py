"""Processes that end badly or start afresh, without the seconds that importing torch takes each time."""

import contextlib
import io
import multiprocessing
import os
import textwrap
import traceback
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

# Forked children of one clean process that has imported what is slow, once a session: no state of the test comes along.
_FRESH = multiprocessing.get_context("forkserver")
_FRESH.set_forkserver_preload(["common_process_imports"])


def _start_server() -> None:
    """Start the clean process; before Python 3.12.8 it finds only what PYTHONPATH names, and is silent on the rest."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(paths)}):
        forkserver.ensure_running()


def _run(code, out):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(code, "<in a process>", "exec"), {"__name__": "__main__"})
        except BaseException:
            out.send((printed.getvalue(), traceback.format_exc()))
            os._exit(1)
    out.send((printed.getvalue(), ""))


def run_code(code: str) -> tuple[int, str, str]:
    """Run `code` as a program of its own; its return code (or minus the signal that ended it), output, error."""
    _start_server()
    receiver, sender = _FRESH.Pipe(duplex=False)
    process = _FRESH.Process(target=_run, args=(textwrap.dedent(code), sender))
    process.start()
    sender.close()
    try:
        printed, error = receiver.recv()
    except EOFError:  # killed
        printed = error = ""
    process.join(120)
    return process.exitcode, printed, error
