"""The real daemon, except that it dies by SIGKILL at the N-th await of the pairing ceremony.

`python tests/fakes/dying_node.py ARGS…` takes the arguments of `meshnode`; DIE_AT=N says when: 2k-1 is the moment the
ceremony suspends for the k-th time (what it waits for may or may not happen), 2k the moment it is resumed (it has
happened). The number reached is written to the file DIE_COUNT, so that a test knows when there is nothing more to try.
"""

from __future__ import annotations

import os
import signal
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

STEPS = ("AcceptPeer.exchange", "AcceptPeer.finish", "ConfirmPeer.ack", "ConfirmPeer.confirm", "JoinPeer.join")


class Countdown:
    """Counts the suspensions and resumptions of every wrapped coroutine."""

    def __init__(self, die_at: int, file: Path) -> None:
        self._die_at = die_at
        self._file = file
        self._count = 0
        self._depth = 0

    def _tick(self) -> None:
        self._count += 1
        if self._count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @types.coroutine
    def drive(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Run `work` by send and throw, as the loop does."""
        send, value = work.send, None
        while True:
            try:
                waited_for = send(value)
            except StopIteration as done:
                self._file.write_text(str(self._count))
                return done.value
            except BaseException:
                self._file.write_text(str(self._count))
                raise
            self._tick()
            try:
                send, value = work.send, (yield waited_for)
            except BaseException as error:  # noqa: BLE001 - handed to whom it is meant for
                send, value = work.throw, error
            self._tick()

    def wrap(self, step: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """`step`, counted; one called within another counts once."""

        async def counted(*args: Any, **kwargs: Any) -> Any:
            if self._depth:
                return await step(*args, **kwargs)
            self._depth += 1
            try:
                return await self.drive(step(*args, **kwargs))
            finally:
                self._depth -= 1

        return counted


def main() -> None:
    """Wrap the ceremony, then run the daemon."""
    from meshnode.cli.main import main as meshnode
    from meshnode.node.accept_peer import AcceptPeer
    from meshnode.node.confirm_peer import ConfirmPeer
    from meshnode.node.join_peer import JoinPeer

    countdown = Countdown(int(os.environ["DIE_AT"]), Path(os.environ["DIE_COUNT"]))
    classes = {c.__name__: c for c in (AcceptPeer, ConfirmPeer, JoinPeer)}
    for name in STEPS:
        of, method = name.split(".")
        setattr(classes[of], method, countdown.wrap(getattr(classes[of], method)))
    meshnode()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
