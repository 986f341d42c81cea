"""A bar on a terminal, plain lines elsewhere."""

import io

from VoxelAdvSegLib.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_that_is_redrawn_and_cleared():
    terminal = Terminal()
    with Progress(terminal) as bar:
        bar(0, 4, "a")
        bar(3, 4, "b")
    drawn = terminal.getvalue()
    assert "\n" not in drawn
    first, second, cleared = drawn.split("\r")[1:]
    assert first.startswith("[" + "." * 24 + "] 0/4  a")
    assert second.startswith("[" + "#" * 18 + "." * 6 + "] 3/4, 0 s left  b")
    assert cleared == "\x1b[K"


def test_time_left_is_by_the_pace_so_far():
    now = iter([100.0, 130.0])
    stream = io.StringIO()
    with Progress(stream, clock=lambda: next(now)) as bar:
        bar(1, 10, "b")  # 30 s for one, nine are left
    assert stream.getvalue() == "1/10, 4 min 30 s left  b\n"


def test_elsewhere_short_work_says_nothing():
    stream = io.StringIO()
    with Progress(stream) as bar:
        bar(0, 2, "a")
        bar(1, 2, "b")
    assert stream.getvalue() == ""
