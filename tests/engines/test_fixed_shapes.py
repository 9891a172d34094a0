"""Which shapes get a graph of their own."""

from __future__ import annotations

import threading
import time

from gaitstream.engines.fixed_shapes import OFTEN, FixedShapes, Shapes


class Workshop:
    """Makes a name for every shape but one, and remembers what was made and dropped."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.dropped: list[str] = []

    def make(self, shapes: Shapes) -> str | None:
        self.made.append(shapes[0][0])
        return None if shapes[0][0] == 13 else f"for {shapes[0][0]}"


def kept_by(shop: Workshop, most: int, usual: int = 0) -> FixedShapes[str]:
    return FixedShapes(shop.make, shop.dropped.append, most, lambda shapes: shapes[0][0] == usual)


def ask(fixed: FixedShapes[str], rows: int, times: int = 1) -> str | None:
    return [fixed.get(((rows, 3),)) for _ in range(times)][-1]


def test_what_comes_often_is_made_and_the_usual_at_once() -> None:
    shop = Workshop()
    fixed = kept_by(shop, 2, usual=4)
    assert ask(fixed, 3, OFTEN - 1) is None
    assert ask(fixed, 3) == "for 3"
    assert ask(fixed, 4) == "for 4"
    assert ask(fixed, 3, 5) == "for 3"
    assert shop.made == [3, 4]


def test_a_shape_that_came_twice_as_often_takes_the_place_of_the_rarest() -> None:
    shop = Workshop()
    fixed = kept_by(shop, 2)
    ask(fixed, 3, 10)
    ask(fixed, 5, 4)
    assert ask(fixed, 7, 8) is None
    assert ask(fixed, 7) == "for 7"
    assert shop.dropped == ["for 5"]
    # Two that come by turns do not push each other out.
    for _ in range(20):
        ask(fixed, 5)
        ask(fixed, 7)
    assert shop.made.count(5) + shop.made.count(7) <= 4


def test_what_cannot_be_made_is_asked_for_once() -> None:
    shop = Workshop()
    fixed = kept_by(shop, 2, usual=13)
    assert ask(fixed, 13, 9) is None
    fixed.prepare([((13, 3),)])
    assert shop.made == [13]


def test_preparing_makes_what_there_is_room_for_and_clearing_drops_all() -> None:
    shop = Workshop()
    fixed = kept_by(shop, 2)
    fixed.prepare([((rows, 3),) for rows in (1, 2, 4, 1)])
    assert shop.made == [1, 2]
    assert ask(fixed, 2) == "for 2"
    fixed.clear()
    assert sorted(shop.dropped) == ["for 1", "for 2"]


def test_what_is_made_after_preparing_keeps_nobody_waiting() -> None:
    shop, may_end = Workshop(), threading.Event()

    def slowly(shapes: Shapes) -> str | None:
        assert may_end.wait(30)
        return shop.make(shapes)

    fixed = FixedShapes(slowly, shop.dropped.append, 3, lambda shapes: shapes[0][0] in (4, 8))
    fixed.prepare([])
    assert ask(fixed, 4) is ask(fixed, 8) is ask(fixed, 4) is None
    may_end.set()
    deadline = time.monotonic() + 30
    while ask(fixed, 4) is None or ask(fixed, 8) is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert shop.made == [4, 8]
    ask(fixed, 5, OFTEN)
    fixed.clear()
    assert sorted(shop.dropped) == ["for 4", "for 5", "for 8"]


def test_no_room_makes_nothing() -> None:
    shop = Workshop()
    fixed = kept_by(shop, 0, usual=1)
    fixed.prepare([((1, 3),)])
    assert ask(fixed, 1, 9) is None
    assert not shop.made
