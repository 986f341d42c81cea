"""What CTK's widgets do, as far as a panel can notice."""

# ruff: noqa: N802, RUF012  names as in Qt and Slicer; tables of classes

from pathlib import Path

from panel_bed import dialogs
from panel_bed.dialogs import Question, answers
from panel_bed.standin import Standin
from PySide6 import QtCore, QtGui, QtWidgets

Filter = QtCore.QDir.Filter


class Folding(Standin):
    """Hides its children while collapsed, also those that are added or shown then; what was hidden by itself stays so.

    As in CTK nothing is hidden before the section is on the screen, and hiding a child that is folded away counts.
    """

    def start_folding(self):
        self._changing = False
        self._wanted = {}  # child -> whether it shows when unfolded, once that was said
        self._values["collapsed"] = False
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda on: self._collapse(not on))

    def set_collapsed(self, value):
        self.setChecked(not value)

    def _collapse(self, collapsed):
        if collapsed != self._values["collapsed"]:
            self._values["collapsed"] = collapsed
            self._fold()
            self.updateGeometry()
            if "contentsCollapsed(bool)" in self.own_signals:
                self.emit("contentsCollapsed(bool)", collapsed)

    def _fold(self):
        if self.testAttribute(QtCore.Qt.WidgetAttribute.WA_WState_Created):
            for child in self.children():
                if isinstance(child, QtWidgets.QWidget) and not child.isWindow():
                    self._fold_child(child)

    def _fold_child(self, child):
        wanted = self._wanted.get(child, not child.isHidden() or not self._said(child))
        self._changing = True
        child.setVisible(wanted and not self._values["collapsed"])
        if wanted:  # so that Qt notices when the child is hidden while it is folded away
            child.setAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        self._changing = False

    @staticmethod
    def _said(child):
        return child.testAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide)

    def showEvent(self, event):
        super().showEvent(event)
        self._fold()

    def childEvent(self, event):
        if event.type() == QtCore.QEvent.Type.ChildAdded and isinstance(event.child(), QtWidgets.QWidget):
            event.child().installEventFilter(self)
        elif event.type() == QtCore.QEvent.Type.ChildRemoved:
            self._wanted.pop(event.child(), None)
        super().childEvent(event)

    def eventFilter(self, child, event):
        kinds = QtCore.QEvent.Type
        if not self._changing and event.type() in (kinds.ShowToParent, kinds.HideToParent):
            self._wanted[child] = event.type() == kinds.ShowToParent
            if self._values["collapsed"] and self._wanted[child]:
                self._fold_child(child)
        return False


class CollapsibleButton(Folding):
    """A header with an arrow; below it the contents."""

    defaults = {"collapsedHeight": 14, "contentsFrameShape": QtWidgets.QFrame.Shape.NoFrame}

    def build(self):
        self.start_folding()
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self.header_height(), 0, 0)

    def header_height(self):
        return max(QtGui.QFontMetrics(self.font()).height() + 8, 22)

    def sizeHint(self):
        header = QtCore.QSize(QtGui.QFontMetrics(self.font()).horizontalAdvance(self.text()) + 40, self.header_height())
        inside = self.layout().totalSizeHint() if self.layout() and not self._values["collapsed"] else QtCore.QSize()
        return header.expandedTo(inside)

    def minimumSizeHint(self):
        header = QtCore.QSize(40, self.header_height())
        inside = self.layout().totalMinimumSize() if self.layout() and not self._values["collapsed"] else QtCore.QSize()
        return header.expandedTo(inside)

    def paintEvent(self, _event):
        option = QtWidgets.QStyleOption()
        option.initFrom(self)
        height = self.header_height()
        with QtGui.QPainter(self) as painter:
            painter.fillRect(0, 0, self.width(), height, option.palette.button())
            arrow = QtWidgets.QStyleOption(option)
            arrow.rect = QtCore.QRect(6, (height - 10) // 2, 10, 10)
            down = not self._values["collapsed"]
            kinds = QtWidgets.QStyle.PrimitiveElement
            self.style().drawPrimitive(
                kinds.PE_IndicatorArrowDown if down else kinds.PE_IndicatorArrowRight, arrow, painter, self
            )
            painter.setPen(option.palette.buttonText().color())
            middle = QtCore.Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QtCore.QRect(22, 0, self.width() - 26, height), middle, self.text())

    def hitButton(self, position):
        return position.y() <= self.header_height()


class CollapsibleGroupBox(Folding):
    def build(self):
        self.start_folding()


class PathLineEdit(Standin):
    """A line to type a path, a history, and a button that asks for a file or a folder."""

    enums = {name: Filter[name] for name in Filter.__members__}
    defaults = {"filters": Filter.AllEntries | Filter.NoDotAndDotDot | Filter.Readable, "showBrowseButton": True}

    def build(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.box = QtWidgets.QComboBox(self)
        self.box.setEditable(True)
        self.box.setInsertPolicy(QtWidgets.QComboBox.InsertPolicy.NoInsert)
        self.box.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.button = QtWidgets.QToolButton(self)
        self.button.setText("...")
        self.button.clicked.connect(lambda *_: self.do_browse())
        layout.addWidget(self.box, 1)
        layout.addWidget(self.button)
        self.box.editTextChanged.connect(self._changed)
        self._valid = False

    def _changed(self, text):
        valid = self._is_valid(text)
        if valid != self._valid:
            self._valid = valid
            self.emit("validInputChanged(bool)", valid)
        self.emit("currentPathChanged(QString)", text)

    def _is_valid(self, text):
        path, filters = Path(text), self.read("filters")
        return bool(text) and ((path.is_dir() and bool(filters & Filter.Dirs)) or path.is_file())

    def get_currentPath(self):
        return self.box.currentText()

    def set_currentPath(self, value):
        if value != self.box.currentText():
            self.box.setEditText(value)

    def set_showBrowseButton(self, value):
        self._values["showBrowseButton"] = value
        self.button.setVisible(value)

    def do_browse(self):
        filters = self.read("filters")
        if filters & Filter.Dirs and not filters & Filter.Files:
            kind = "getExistingDirectory"
        else:
            kind = "getSaveFileName" if filters & Filter.Writable else "getOpenFileName"
        chosen = answers.take(Question(f"QFileDialog.{kind}", self.get_currentPath(), self.read("label")))
        if chosen is not None:
            self.set_currentPath(str(chosen))
            self.do_addCurrentPathToHistory()

    def do_addCurrentPathToHistory(self):
        if self.get_currentPath() and self.box.findText(self.get_currentPath()) < 0:
            self.box.addItem(self.get_currentPath())

    def do_comboBox(self):
        return self.box

    quiet = ("retrieveHistory",)


class DirectoryButton(Standin):
    """A button that shows a folder and asks for another."""

    def build(self):
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.button = QtWidgets.QPushButton(self)
        self.button.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.button.clicked.connect(lambda *_: self.do_browse())
        layout.addWidget(self.button)
        self._values["directory"] = QtCore.QDir.currentPath()
        self._tell()

    def _tell(self):
        text = self._values.get("text") or self._values["directory"]
        metrics, room = self.button.fontMetrics(), max(self.width() - 30, 60)
        self.button.setText(metrics.elidedText(text, QtCore.Qt.TextElideMode.ElideMiddle, room))

    def resizeEvent(self, event):
        self._tell()
        super().resizeEvent(event)

    def set_text(self, value):
        self._values["text"] = value
        self._tell()

    def set_directory(self, value):
        value = QtCore.QDir(value).absolutePath() if value else QtCore.QDir.currentPath()
        if value != self._values["directory"]:
            self._values["directory"] = value
            self._tell()
            self.emit("directoryChanged(QString)", value)
        self.emit("directorySelected(QString)", value)

    def do_browse(self):
        question = Question("QFileDialog.getExistingDirectory", self._values["directory"], self.read("caption"))
        chosen = answers.take(question)
        if chosen is not None:
            self.set_directory(str(chosen))
        return self._values["directory"]


class Number(Standin):
    """A number with limits in a spin box, beside a slider where the class has one."""

    slider = False
    defaults = {"minimum": 0.0, "maximum": 99.0, "singleStep": 1.0, "pageStep": 10.0, "decimals": 2, "tracking": True}

    def build(self):
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.bar = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self.bar.setRange(0, 1000)
        self.bar.setVisible(self.slider)
        self.box = QtWidgets.QDoubleSpinBox(self)
        self.box.setRange(self.defaults["minimum"], self.defaults["maximum"])
        layout.addWidget(self.bar, 1)
        layout.addWidget(self.box, 0 if self.slider else 1)
        self.box.valueChanged.connect(self._changed)
        self.bar.valueChanged.connect(self._slid)
        self._follow()

    def _changed(self, value):
        self._follow()
        self.emit("valueChanged(double)", value)
        if "valueChanged(QString)" in self.own_signals:
            self.emit("valueChanged(QString)", self.box.text())

    def _follow(self):
        low, high = self.box.minimum(), self.box.maximum()
        self.bar.blockSignals(True)
        self.bar.setValue(round(1000 * (self.box.value() - low) / (high - low)) if high > low else 0)
        self.bar.blockSignals(False)

    def _slid(self, position):
        low, high = self.box.minimum(), self.box.maximum()
        self.box.setValue(low + position * (high - low) / 1000)

    def get_value(self):
        return self.box.value()

    def set_value(self, value):
        self.box.setValue(value)

    def get_minimum(self):
        return self.box.minimum()

    def set_minimum(self, value):
        self.box.setMinimum(value)
        self._follow()

    def get_maximum(self):
        return self.box.maximum()

    def set_maximum(self, value):
        self.box.setMaximum(value)
        self._follow()

    def get_decimals(self):
        return self.box.decimals()

    def set_decimals(self, value):
        self.box.setDecimals(value)

    def get_singleStep(self):
        return self.box.singleStep()

    def set_singleStep(self, value):
        self.box.setSingleStep(value)

    def get_suffix(self):
        return self.box.suffix()

    def set_suffix(self, value):
        self.box.setSuffix(value)

    def get_prefix(self):
        return self.box.prefix()

    def set_prefix(self, value):
        self.box.setPrefix(value)

    def set_readOnly(self, value):
        self._values["readOnly"] = value
        self.box.setReadOnly(value)

    def do_stepUp(self):
        self.box.stepUp()

    def do_stepDown(self):
        self.box.stepDown()


class SliderWidget(Number):
    slider = True


class Slider(Number):
    slider = True

    def build(self):
        super().build()
        self.box.hide()


class MessageBox(Standin):
    """A message box that the scripted person answers."""

    clicked_button = None

    def qt_exec(self):
        return dialogs.exec_message(self)

    def qt_clickedButton(self):
        return self.clicked_button


class ColorPickerButton(Standin):
    defaults = {"color": QtGui.QColor(0, 0, 0)}

    def set_color(self, value):
        if value != self.read("color"):
            self._values["color"] = QtGui.QColor(value)
            self.setText(self._values["color"].name())
            self.emit("colorChanged(QColor)", self._values["color"])

    def get_colorName(self):
        return self.read("color").name()


class FittedTextBrowser(Standin):
    def do_setCollapsibleText(self, text):
        self.setText(text)


class ComboBox(Standin):
    def get_currentUserDataAsString(self):
        return str(self.currentData() or "")

    def set_currentUserDataAsString(self, value):
        self.setCurrentIndex(self.findData(value))


class CheckableComboBox(ComboBox):
    """Rows that can be ticked; by row index."""


BEHAVIORS = {
    "ctkCheckableComboBox": CheckableComboBox,
    "ctkCollapsibleButton": CollapsibleButton,
    "ctkCollapsibleGroupBox": CollapsibleGroupBox,
    "ctkColorPickerButton": ColorPickerButton,
    "ctkComboBox": ComboBox,
    "ctkDirectoryButton": DirectoryButton,
    "ctkDoubleSlider": Slider,
    "ctkDoubleSpinBox": Number,
    "ctkFittedTextBrowser": FittedTextBrowser,
    "ctkMessageBox": MessageBox,
    "ctkPathLineEdit": PathLineEdit,
    "ctkSliderWidget": SliderWidget,
    "qMRMLCollapsibleButton": CollapsibleButton,
    "qMRMLSliderWidget": SliderWidget,
    "qMRMLSpinBox": Number,
}
