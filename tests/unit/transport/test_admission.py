"""Who gets a socket."""

from meshnode.transport.admission import IN_ALL, PER_SOURCE, Admission, Visitor


class Door:
    """An admission whose closed sockets are noted by name, in order."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.closed: list[str] = []

    def enter(self, source: str, name: str) -> Visitor:
        visitor = Visitor(source, lambda: self.closed.append(name))
        self.admission.admit(visitor)
        return visitor


def test_the_limits_are_those_of_the_design() -> None:
    """Eight of a source, 128 in all."""
    assert (PER_SOURCE, IN_ALL) == (8, 128)


def test_a_ninth_socket_ends_its_sources_oldest() -> None:
    """And nobody else's."""
    door = Door()
    door.enter("other", "other")
    for n in range(10):
        door.enter("a", f"a{n}")
    assert door.closed == ["a0", "a1"]
    assert len(door.admission) == 9


def test_an_idle_socket_goes_before_a_busy_one() -> None:
    """A request under way is answered; if all are busy the oldest goes."""
    door = Door()
    visitors = [door.enter("a", f"a{n}") for n in range(8)]
    for visitor in visitors[:3]:
        visitor.is_busy = True
    door.enter("a", "a8")
    assert door.closed == ["a3"]
    for visitor in visitors:
        visitor.is_busy = True
    for n in range(9, 12):
        door.enter("a", f"a{n}").is_busy = True
    assert door.closed[1] == "a8"
    assert len(door.admission) == 8


def test_the_129th_socket_ends_the_oldest_of_the_largest_source() -> None:
    """The crowd's largest makes room, not the newcomer, not the small ones."""
    door = Door()
    for n in range(120):
        door.enter(f"small {n}", f"small {n}")
    for n in range(8):
        door.enter("large", f"large {n}")
    assert door.closed == []
    door.enter("new", "new")
    assert door.closed == ["large 0"]
    assert len(door.admission) == 128


def test_a_thousand_sources_never_make_more_than_128() -> None:
    """One socket each."""
    door = Door()
    for n in range(1000):
        door.enter(f"source {n}", str(n))
        assert len(door.admission) <= 128
    assert len(door.closed) == 1000 - 128


def test_a_promoted_socket_counts_no_more_and_is_not_ended() -> None:
    """Its caller has authenticated."""
    door = Door()
    known = door.enter("a", "known")
    door.admission.release(known)
    for n in range(8):
        door.enter("a", f"a{n}")
    assert door.closed == []
    assert len(door.admission) == 8
    door.enter("a", "a8")
    assert door.closed == ["a0"]


def test_release_repeats_without_harm() -> None:
    """Closing after authenticating, or after having been ended."""
    door = Door()
    visitors = [door.enter("a", f"a{n}") for n in range(9)]
    for visitor in visitors * 2:
        door.admission.release(visitor)
    assert len(door.admission) == 0
    door.enter("a", "again")
    assert len(door.admission) == 1
    assert door.closed == ["a0"]


def test_sources_that_left_are_forgotten() -> None:
    """No memory is kept of them."""
    door = Door()
    for n in range(100):
        door.admission.release(door.enter(f"source {n}", ""))
    assert door.admission._visitors == {}
