"""What a row of the table is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Job"]

# Makes everything that is not to be timed, and returns the call that is.
Prepare = Callable[[], Callable[[], Any]]


@dataclass(frozen=True)
class Job:
    """One job, done by us and by others.

    Parameters
    ----------
    title : str
        First column of the table.
    sides : dict of str to callable
        Who does the job: a function without arguments that prepares everything and returns the call to be timed. Each
        side lives in a process of its own; what its call returns last goes to `check` (arrays, numbers, small dicts).
    goals : dict of tuple of str to float
        ``(ours, peer)`` to how many times less the job should cost us.
    check : callable
        Gets ``{side: result}`` of the sides that ran, returns in a few words how well they agree, and raises
        AssertionError where ours is wrong.
    measure : {"cpu", "wall", "value"}, default="cpu"
        What is compared: seconds of the process and its children, seconds by the clock, or the number that the call
        returns under the key "value" (bytes, for instance).
    rounds : int, default=3
        Timed calls of each side; sides take turns. One untimed call comes first where `warm_up`.
    warm_up : bool, default=True
    memory : bool, default=False
        Whether the table shows how much memory a call needs, too: one more call, before which all that is free is given
        back.
    share : dict of str to float, default={}
        Of a side that does only a part of the job, by what its figure is multiplied; the table says so.
    packages : dict of str to str, default={}
        Of a side that needs one: the package without which it is left out.
    note : str, default=""
        Said below the table: what the job is, on what data.
    """

    title: str
    sides: dict[str, Prepare]
    goals: dict[tuple[str, str], float]
    check: Callable[[dict[str, Any]], str]
    measure: str = "cpu"
    rounds: int = 3
    warm_up: bool = True
    memory: bool = False
    share: Any = ()
    packages: Any = ()
    note: str = ""
