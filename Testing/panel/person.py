"""What a person does at the panel's own boxes, for `bed.answers.expect("QDialog", ...)`."""

import slicer.util

CANCELED, PRESSED_OK = 0, 1


def typed(text):
    """Types a text into the box and presses OK."""

    def act(dialog):
        slicer.util.findChild(dialog, "answer").text = text
        return PRESSED_OK

    return act


def chose(line):
    """Chooses a line of the box's list by its beginning, and presses OK."""

    def act(dialog):
        lines = slicer.util.findChild(dialog, "answer")
        (row,) = [row for row in range(lines.count) if lines.item(row).text().startswith(line)]
        lines.setCurrentRow(row)
        return PRESSED_OK

    return act


def canceled(_dialog):
    """Closes the box without an answer."""
    return CANCELED
