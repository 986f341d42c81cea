"""Pictures of the panel at a width as in Slicer, light and dark, and what a picture cannot hide: cut off texts."""

from pathlib import Path

from panel_bed.pythonqt import unwrap
from PySide6 import QtCore, QtGui, QtWidgets

WIDTH = 420  # pixels of the module panel on a usual screen
ROLES = QtGui.QPalette.ColorRole
DARK = {
    ROLES.Window: "#353535", ROLES.WindowText: "#f0f0f0", ROLES.Base: "#2a2a2a", ROLES.AlternateBase: "#424242",
    ROLES.Text: "#f0f0f0", ROLES.Button: "#454545", ROLES.ButtonText: "#f0f0f0", ROLES.BrightText: "#ff5555",
    ROLES.Highlight: "#2a82da", ROLES.HighlightedText: "#ffffff", ROLES.ToolTipBase: "#353535",
    ROLES.ToolTipText: "#f0f0f0", ROLES.Link: "#6cb2ff", ROLES.PlaceholderText: "#9a9a9a", ROLES.Mid: "#5a5a5a",
    ROLES.Dark: "#232323", ROLES.Light: "#606060",
}  # fmt: skip
LIGHT = {
    ROLES.Window: "#efefef", ROLES.WindowText: "#101010", ROLES.Base: "#ffffff", ROLES.AlternateBase: "#f5f5f5",
    ROLES.Text: "#101010", ROLES.Button: "#e4e4e4", ROLES.ButtonText: "#101010", ROLES.BrightText: "#ffffff",
    ROLES.Highlight: "#308cc6", ROLES.HighlightedText: "#ffffff", ROLES.ToolTipBase: "#ffffdc",
    ROLES.ToolTipText: "#101010", ROLES.Link: "#0057ae", ROLES.PlaceholderText: "#808080", ROLES.Mid: "#b8b8b8",
    ROLES.Dark: "#9f9f9f", ROLES.Light: "#ffffff",
}  # fmt: skip


def palette(dark=False):
    out = QtGui.QPalette()
    for role, color in (DARK if dark else LIGHT).items():
        out.setColor(role, QtGui.QColor(color))
    for role in (ROLES.WindowText, ROLES.Text, ROLES.ButtonText):
        out.setColor(QtGui.QPalette.ColorGroup.Disabled, role, QtGui.QColor("#808080" if dark else "#9a9a9a"))
    return out


def use_palette(dark=False):
    """The colors of the whole application, as Slicer's style setting changes them; widgets get PaletteChange."""
    app = QtWidgets.QApplication.instance()
    app.setStyle("Fusion")
    app.setPalette(palette(dark))
    font = QtGui.QFont("DejaVu Sans", 9)
    app.setFont(font)
    QtWidgets.QApplication.processEvents()


def lay_out(widget, width=WIDTH):
    """Gives a widget the panel's width and all the height that it asks for; returns the height in pixels."""
    obj = unwrap(widget)
    obj.setAttribute(QtCore.Qt.WidgetAttribute.WA_DontShowOnScreen, False)
    obj.resize(width, 10)
    obj.show()
    for _ in range(3):  # a height that depends on the width is known after a first layout
        QtWidgets.QApplication.processEvents()
        layout = obj.layout()
        height = layout.heightForWidth(width) if layout is not None and layout.hasHeightForWidth() else -1
        obj.resize(width, max(height, obj.sizeHint().height(), obj.minimumSizeHint().height()))
    QtWidgets.QApplication.processEvents()
    return obj.height()


def grab(widget, path=None, dark=False, width=WIDTH):
    """A picture of a widget (QImage); written to path (PNG) when one is given."""
    use_palette(dark)
    lay_out(widget, width)
    image = unwrap(widget).grab().toImage()
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if not image.save(str(path)):
            raise OSError(f"{path}: the picture could not be written")
    if dark:
        use_palette(False)
    return image


def sheet(images, path, columns=3, gap=12):
    """One picture of several, side by side with their names; images: {name: QImage or path of a PNG}."""
    loaded = {name: one if isinstance(one, QtGui.QImage) else QtGui.QImage(str(one)) for name, one in images.items()}
    rows = [list(loaded.items())[i : i + columns] for i in range(0, len(loaded), columns)]
    widths = [max((row[c][1].width() for row in rows if c < len(row)), default=0) for c in range(columns)]
    heights = [max(image.height() for _, image in row) + 20 for row in rows]
    whole = QtGui.QImage(
        sum(widths) + gap * (columns + 1), sum(heights) + gap * (len(rows) + 1), QtGui.QImage.Format.Format_RGB32
    )
    whole.fill(QtGui.QColor("#808080"))
    with QtGui.QPainter(whole) as painter:
        painter.setPen(QtGui.QColor("#ffffff"))
        y = gap
        for row, height in zip(rows, heights, strict=True):
            x = gap
            for (name, image), width in zip(row, widths, strict=False):
                painter.drawText(x, y + 14, name)
                painter.drawImage(x, y + 20, image)
                x += width + gap
            y += height + gap
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not whole.save(str(path)):
        raise OSError(f"{path}: the picture could not be written")
    return whole


def _needed(widget):
    """(width, height) that the text of a label or a button needs, None when it has none."""
    if isinstance(widget, QtWidgets.QLabel):
        if (widget.pixmap() is not None and not widget.pixmap().isNull()) or not widget.text():
            return None
        if widget.wordWrap():
            words = max(widget.text().split(), key=len, default="")
            width = widget.fontMetrics().horizontalAdvance(words)
            return width, widget.heightForWidth(widget.width())
        return widget.sizeHint().width(), widget.sizeHint().height()
    if isinstance(widget, (QtWidgets.QPushButton, QtWidgets.QCheckBox, QtWidgets.QRadioButton, QtWidgets.QToolButton)):
        if not widget.text():
            return None
        hint = widget.minimumSizeHint()
        return hint.width(), widget.fontMetrics().height()
    return None


def cut_off(widget):
    """Texts that are cut off, or lie over each other, in the layout as it stands; "" for the panel is fine."""
    top = unwrap(widget)
    found = []
    shown = [one for one in top.findChildren(QtWidgets.QWidget) if one.isVisibleTo(top) and not one.isWindow()]
    for one in shown:
        name = one.objectName() or type(one).__name__
        needed = _needed(one)
        if needed is not None and (one.width() < needed[0] or one.height() < needed[1]):
            text = getattr(one, "text", str)()
            found.append(f"{name}: {text!r} needs {needed[0]} x {needed[1]}, has {one.width()} x {one.height()}")
        parent = one.parentWidget()
        scrolls = isinstance(parent.parentWidget() if parent else None, QtWidgets.QAbstractScrollArea)
        if (
            parent is not None
            and not scrolls
            and _needed(one) is not None
            and not parent.rect().contains(one.geometry())
        ):
            found.append(f"{name}: reaches out of {parent.objectName() or type(parent).__name__}")
    found += _overlaps(shown)
    return found


def _overlaps(shown):
    found = []
    by_parent = {}
    for one in shown:
        if _needed(one) is not None:
            by_parent.setdefault(one.parentWidget(), []).append(one)
    for brothers in by_parent.values():
        for i, first in enumerate(brothers):
            for second in brothers[i + 1 :]:
                if first.geometry().intersects(second.geometry()):
                    found.append(f"{first.objectName()} and {second.objectName()} lie over each other")
    return found


def assert_texts_fit(widget, width=WIDTH):
    """Fails when the text of a label or a button is cut off at this width, and names it."""
    use_palette(False)
    lay_out(widget, width)
    found = cut_off(widget)
    if unwrap(widget).minimumSizeHint().width() > width:
        found.append(f"the panel cannot be narrower than {unwrap(widget).minimumSizeHint().width()} pixels")
    assert not found, "\n".join(found)
