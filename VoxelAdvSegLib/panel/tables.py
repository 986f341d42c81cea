"""Tables of the panel: rows with an identity, filled without losing selection, order or place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import qt


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, what the pointer tells, and a color (0 to 255) or the name of a standard icon."""

    text: str = ""
    tip: str = ""
    color_rgb: tuple[int, int, int] | None = None
    icon: str = ""
    editable: bool = False


@dataclass(frozen=True)
class Row:
    """One line: `key` stays the same when the line is told anew or sorted elsewhere."""

    key: str
    cells: tuple[Cell, ...]


class Table:
    """A QTableWidget that is told its rows; knows them by key, whatever the order on the screen."""

    def __init__(self, widget: Any, stretch: int) -> None:
        """stretch: the column that takes the room that is left."""
        self.widget = widget
        self.rows: tuple[Row, ...] = ()
        self.filling = False
        widget.verticalHeader().setVisible(False)
        header = widget.horizontalHeader()
        header.setStretchLastSection(False)
        for column in range(widget.columnCount):
            mode = qt.QHeaderView.Stretch if column == stretch else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)

    def fill(self, rows: Sequence[Row]) -> None:
        """Shows these rows; nothing is touched when they are the ones shown already."""
        rows = tuple(rows)
        if rows == self.rows:
            return
        if [row.key for row in rows] == [row.key for row in self.rows]:
            self._change(rows)
            return
        chosen = set(self.selected())
        widget, self.filling = self.widget, True
        sorts = widget.sortingEnabled
        widget.sortingEnabled = False
        try:
            widget.setRowCount(len(rows))
            for number, row in enumerate(rows):
                for column, cell in enumerate(row.cells):
                    widget.setItem(number, column, _item(cell, row.key))
            self.rows = rows
            widget.clearSelection()
        finally:
            widget.sortingEnabled = sorts
            self.filling = False
        self.select(chosen)

    def _change(self, rows: tuple[Row, ...]) -> None:
        """The same lines with some cells changed: only these are made anew."""
        places = {key: number for number, key in enumerate(self.keys())}
        widget, self.filling = self.widget, True
        sorts = widget.sortingEnabled
        widget.sortingEnabled = False
        try:
            for row, before in zip(rows, self.rows, strict=True):
                for column, (cell, old) in enumerate(zip(row.cells, before.cells, strict=True)):
                    if cell != old:
                        place = places[row.key]
                        chosen = widget.item(place, column).isSelected()
                        widget.setItem(place, column, _item(cell, row.key))
                        widget.item(place, column).setSelected(chosen)
            self.rows = rows
        finally:
            widget.sortingEnabled = sorts
            self.filling = False

    def key_at(self, row: int) -> str:
        """Key of a line of the screen, "" where there is none."""
        item = self.widget.item(row, 0)
        return "" if item is None else str(item.data(qt.Qt.UserRole))

    def keys(self) -> list[str]:
        """Keys in the order of the screen."""
        return [self.key_at(row) for row in range(self.widget.rowCount)]

    def selected(self) -> list[str]:
        """Keys of the selected lines, from top to bottom."""
        widget = self.widget
        return [self.key_at(row) for row in range(widget.rowCount) if widget.item(row, 0).isSelected()]

    def select(self, keys: Sequence[str] | set[str]) -> None:
        for row in range(self.widget.rowCount):
            wanted = self.key_at(row) in keys
            for column in range(self.widget.columnCount):
                item = self.widget.item(row, column)
                if item is not None and item.isSelected() != wanted:
                    item.setSelected(wanted)


def _item(cell: Cell, key: str) -> Any:
    item = qt.QTableWidgetItem(cell.text)
    item.setData(qt.Qt.UserRole, key)
    item.setToolTip(cell.tip or cell.text)
    if cell.color_rgb is not None:
        item.setBackground(qt.QBrush(qt.QColor(*cell.color_rgb)))
    if cell.icon:
        item.setIcon(standard_icon(cell.icon))
    flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
    item.setFlags(flags | qt.Qt.ItemIsEditable if cell.editable else flags)
    return item


def standard_icon(name: str) -> Any:
    """The style's own picture for "error", "warning", "note" or "ok", fit for light and dark."""
    pictures = {
        "error": qt.QStyle.SP_MessageBoxCritical,
        "warning": qt.QStyle.SP_MessageBoxWarning,
        "note": qt.QStyle.SP_MessageBoxInformation,
        "ok": qt.QStyle.SP_DialogApplyButton,
    }
    return qt.QApplication.style().standardIcon(pictures[name])
