"""Tables of the panel: rows with an identity, filled without losing selection, order or place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import qt


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, what the pointer tells, and a color (0 to 255) or the name of a standard icon.

    order: what it is sorted by, least first, where that is not its text; the same kind in all of a column.
    """

    text: str = ""
    tip: str = ""
    color_rgb: tuple[int, int, int] | None = None
    icon: str = ""
    editable: bool = False
    order: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Row:
    """One line: `key` stays the same when the line is told anew or sorted elsewhere."""

    key: str
    cells: tuple[Cell, ...]


class Table:
    """A QTableWidget that is told its rows; knows them by key, whatever the order on the screen.

    A widget that may be sorted is sorted here: Qt would know the texts alone, and "10" before "2".
    """

    def __init__(self, widget: Any, stretch: int | None = None) -> None:
        """stretch: the column that takes the room that is left, and gives room where there is too little.

        None: every column is as wide as its texts; where there is too little room, the table scrolls.
        """
        self.widget = widget
        self.rows: tuple[Row, ...] = ()  # as they stand on the screen
        self.filling = False
        widget.verticalHeader().setVisible(False)
        header = widget.horizontalHeader()
        header.setStretchLastSection(stretch is None)
        for column in range(widget.columnCount):
            mode = qt.QHeaderView.Stretch if column == stretch else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)
        self.sorts = bool(widget.sortingEnabled)
        if self.sorts:
            widget.sortingEnabled = False
            header.setSectionsClickable(True)
            header.setSortIndicatorShown(True)
            header.setSortIndicator(0, qt.Qt.DescendingOrder)
            header.connect("sortIndicatorChanged(int,Qt::SortOrder)", self.on_sort)

    def on_sort(self, *_arguments: Any) -> None:
        self.fill(self.rows)

    def fill(self, rows: Sequence[Row]) -> None:
        """Shows these rows; nothing is touched when they are the ones shown already."""
        rows = self._sorted(rows)
        if rows == self.rows:
            return
        if [row.key for row in rows] == [row.key for row in self.rows]:
            self._change(rows)
            return
        chosen, current = set(self.selected()), self.key_at(self.widget.currentRow())
        widget, self.filling = self.widget, True
        try:
            widget.setRowCount(len(rows))
            for number, row in enumerate(rows):
                for column, cell in enumerate(row.cells):
                    widget.setItem(number, column, _item(cell, row.key))
            self.rows = rows
            widget.clearSelection()
        finally:
            self.filling = False
        self._put_cursor(current)
        self.select(chosen)

    def _sorted(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        if not self.sorts:
            return tuple(rows)
        header = self.widget.horizontalHeader()
        column = header.sortIndicatorSection()
        down = header.sortIndicatorOrder() == qt.Qt.DescendingOrder
        return tuple(sorted(rows, key=lambda row: _order(row.cells[column]), reverse=down))

    def _change(self, rows: tuple[Row, ...]) -> None:
        """The same lines with some cells changed: only these are made anew."""
        widget, self.filling = self.widget, True
        try:
            for number, (row, before) in enumerate(zip(rows, self.rows, strict=True)):
                for column, (cell, old) in enumerate(zip(row.cells, before.cells, strict=True)):
                    if cell != old:
                        chosen = widget.item(number, column).isSelected()
                        widget.setItem(number, column, _item(cell, row.key))
                        widget.item(number, column).setSelected(chosen)
            self.rows = rows
        finally:
            self.filling = False

    def _put_cursor(self, key: str) -> None:
        """The arrow keys go on from the line where they were."""
        keys = self.keys()
        if key in keys:
            item = self.widget.item(keys.index(key), max(self.widget.currentColumn(), 0))
            self.widget.setCurrentItem(item, qt.QItemSelectionModel.NoUpdate)

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


def _order(cell: Cell) -> Any:
    """What a cell is sorted by; numbers in a text count as such: scan 2 comes before scan 10."""
    if cell.order is not None:
        return cell.order
    parts = re.split(r"(\d+)", cell.text)
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)]


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
