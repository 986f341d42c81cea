"""What a person does at the panel's own boxes, for `bed.answers.expect("QDialog", ...)`."""

import slicer.util

CANCELED, PRESSED_OK = 0, 1


def typed(text):
    """Types a text into the box and presses OK."""

    def act(dialog):
        slicer.util.findChild(dialog, "answer").text = text
        return PRESSED_OK

    return act


def canceled(_dialog):
    """Closes the box without an answer."""
    return CANCELED
