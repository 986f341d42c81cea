"""Answers to dialogs, said beforehand: a dialog that nobody expected fails the test, and so does an unused answer."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from panel_bed.pythonqt import ClassProxy, EnumValue, unwrap, wrap
from PySide6 import QtGui, QtWidgets


class UnexpectedDialogError(AssertionError):
    """A dialog opened for which the test had no answer."""


@dataclass
class Question:
    """What a dialog showed: its kind ("QMessageBox", "QFileDialog.getExistingDirectory" ...) and its texts."""

    kind: str
    text: str
    title: str = ""
    details: str = ""


@dataclass
class _Answer:
    kind: str
    value: Any
    text: str


class Answers:
    """The scripted person in front of the screen."""

    def __init__(self):
        self._waiting: deque[_Answer] = deque()
        self.asked: list[Question] = []
        self.opened_urls: list[str] = []
        self.unexpected: list[Question] = []

    def start(self) -> None:
        """Forgets all that an earlier application was asked."""
        for one in (self._waiting, self.asked, self.opened_urls, self.unexpected):
            one.clear()

    def expect(self, kind: str, value: Any, text: str = "") -> None:
        """The next dialog must be of this kind and hold this text; it gets `value`.

        Kinds: "message" (any QMessageBox or ctkMessageBox; value "Ok", "Cancel", "Yes", "No", "Close", "Retry" ... or
        the text of a button that was added), "QFileDialog.getExistingDirectory", "...getOpenFileName",
        "...getOpenFileNames", "...getSaveFileName" (a path, paths, or None when canceled), "QInputDialog.getText",
        "...getItem", "...getInt", "...getDouble", "...getMultiLineText" (None when canceled), "QColorDialog.getColor"
        (red, green, blue from 0 to 255, or None when canceled), "QDialog" (a function
        that gets the dialog's proxy and returns its result), "QMenu" (the text of the action that is chosen, or None),
        "QDesktopServices.openUrl" (True or False), "pip" (a slicer.packaging install: a function or None).
        """
        self._waiting.append(_Answer(kind, value, text))

    def take(self, question: Question) -> Any:
        self.asked.append(question)
        words = f"{question.kind}: {question.title}: {question.text}"
        if not self._waiting:
            self.unexpected.append(question)
            raise UnexpectedDialogError(f"a dialog opened that the test does not expect: {words}")
        answer = self._waiting[0]
        everything = "\n".join((question.title, question.text, question.details))
        if answer.kind != question.kind or answer.text.lower() not in everything.lower():
            self.unexpected.append(question)
            raise UnexpectedDialogError(f"expected {answer.kind} with {answer.text!r}, got {words}")
        self._waiting.popleft()
        return answer.value

    def finish(self) -> None:
        """Fails when a dialog came unasked (also where the code swallowed that error) or an answer was not used."""
        unexpected, unused = self.unexpected[:], [answer.kind for answer in self._waiting]
        self.unexpected.clear()
        self._waiting.clear()
        assert not unexpected, f"dialogs without an answer: {unexpected}"
        assert not unused, f"answers that no dialog asked for: {unused}"


answers = Answers()


class BoolResult:
    """PythonQt's place for a `bool*` argument: `ok = qt.BoolResult()`, then `if ok:`."""

    def __init__(self):
        self.value = False

    def __bool__(self):
        return self.value


def _file_dialog(name, several=False):
    def ask(*args):
        # parent, caption, directory, filter, ...: the caption is what a test recognizes
        title = str(args[1]) if len(args) > 1 else ""
        value = answers.take(Question(f"QFileDialog.{name}", " ".join(str(a) for a in args[2:]), title))
        if several:
            return tuple(str(one) for one in value or ())
        return "" if value is None else str(value)

    return ask


def _input_dialog(name, empty):
    def ask(*args):
        if len(args) < 3:
            raise TypeError(f"QInputDialog.{name} needs parent, title and label")
        value = answers.take(Question(f"QInputDialog.{name}", str(args[2]), str(args[1])))
        for arg in args:
            if isinstance(arg, BoolResult):
                arg.value = value is not None
        return empty if value is None else value

    return ask


def message_result(box, value):
    """The integer that exec_() of a message box returns for the button named, which must be on the box."""
    button = getattr(QtWidgets.QMessageBox.StandardButton, value, None)
    if button is not None:
        if not box.standardButtons() & button and not (button == button.Ok and not box.standardButtons().value):
            raise UnexpectedDialogError(f"{value} is not among the buttons of the message {box.text()!r}")
        return button.value
    for one in box.buttons():
        if one.text().replace("&", "") == value:
            box.clicked_button = one
            return box.buttons().index(one)
    raise UnexpectedDialogError(f"no button {value!r} on the message {box.text()!r}")


def exec_message(box):
    question = Question(
        "message", "\n".join((box.text(), box.informativeText())), box.windowTitle(), box.detailedText()
    )
    return message_result(box, answers.take(question))


def _static_message(name):
    icon = {"question": "Yes", "information": "Ok", "warning": "Ok", "critical": "Ok"}[name]

    def ask(*args):
        if len(args) < 3:
            raise TypeError(f"QMessageBox.{name} needs parent, title and text")
        box = QtWidgets.QMessageBox()
        box.setWindowTitle(args[1])
        box.setText(args[2])
        default = "Yes|No" if icon == "Yes" else "Ok"
        kinds = QtWidgets.QMessageBox.StandardButton
        buttons = unwrap(args[3]) if len(args) > 3 else None
        if buttons is None:
            buttons = kinds.NoButton
            for one in default.split("|"):
                buttons |= kinds[one]
        box.setStandardButtons(buttons)
        return EnumValue(kinds(exec_message(box)))

    return ask


def exec_dialog(dialog):
    """Runs an own QDialog: the answer is a function that works on it and returns its result."""
    from panel_bed.pythonqt import Proxy

    act = answers.take(Question("QDialog", dialog.windowTitle(), dialog.windowTitle()))
    result = act(Proxy(dialog))
    dialog.done(int(result))
    return int(result)


def exec_menu(menu, *_position):
    """The action of a popped up menu that the answer names; its signal triggered(bool) is sent, as in Qt."""
    actions = [action for action in menu.actions() if not action.isSeparator()]
    value = answers.take(Question("QMenu", " | ".join(action.text() for action in actions), menu.title()))
    if value is None:
        return None
    for action in actions:
        if action.text().replace("&", "") == value:
            if not action.isEnabled():
                raise UnexpectedDialogError(f"the action {value!r} is disabled")
            action.trigger()
            return action
    raise UnexpectedDialogError(f"no action {value!r} in the menu")


def open_url(url):
    text = unwrap(url).toString()
    answers.opened_urls.append(text)
    return answers.take(Question("QDesktopServices.openUrl", text))


def _no_quit(*_args):
    raise UnexpectedDialogError("the application would end")


def _color_dialog(*args):
    title = str(args[2]) if len(args) > 2 else ""
    value = answers.take(Question("QColorDialog.getColor", "", title))
    return QtGui.QColor() if value is None else QtGui.QColor(*value)


def install() -> None:
    """Puts the scripted person in place of each modal call of Qt."""
    for name in ("getExistingDirectory", "getOpenFileName", "getSaveFileName"):
        ClassProxy.statics["QFileDialog", name] = _file_dialog(name)
    ClassProxy.statics["QFileDialog", "getOpenFileNames"] = _file_dialog("getOpenFileNames", several=True)
    for name, empty in (("getText", ""), ("getItem", ""), ("getInt", 0), ("getDouble", 0.0), ("getMultiLineText", "")):
        ClassProxy.statics["QInputDialog", name] = _input_dialog(name, empty)
    ClassProxy.statics["QColorDialog", "getColor"] = lambda *args: wrap(_color_dialog(*args))
    for name in ("question", "information", "warning", "critical"):
        ClassProxy.statics["QMessageBox", name] = _static_message(name)
    ClassProxy.statics["QDesktopServices", "openUrl"] = open_url
    for name in ("quit", "exit", "exec_", "exec"):
        ClassProxy.statics["QApplication", name] = _no_quit
        ClassProxy.statics["QCoreApplication", name] = _no_quit
