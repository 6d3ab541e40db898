"""A table with fewer columns on a narrow terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def plain_table(caption: str | None = None) -> Table:
    """Return an empty table with one line below its head and no frame."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold", caption=caption)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        head: may contain line breaks.
        cells: one for each row. Text wider than the terminal is wrapped, never truncated.
        name: name in the list of hidden columns; empty to leave it out of the list.
        priority: 0 is always shown. The largest is hidden first, and among equals the rightmost.
        left: align to the left. Default: to the right, as for numbers.
    """

    head: str
    cells: Sequence[RenderableType]
    name: str = ""
    priority: int = 0
    left: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FittingTable:
    """A table for the width of the terminal. Cells are never truncated; whole columns are hidden and listed below.

    Attributes:
        columns: in their order, all with the same number of cells.
        styles: one for each row.
        caption: a line below the table.
        sections: indices of the rows with a separating line below.
        elsewhere: tells where to read hidden columns.
        wrap: whether the list of hidden columns may take several lines.
    """

    columns: Sequence[Column]
    styles: Sequence[str | None]
    caption: str | None = None
    sections: frozenset[int] = field(default_factory=frozenset)
    elsewhere: str = ""
    wrap: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table and the list of hidden columns."""
        shown = list(self.columns)
        while self._width(console, options, shown) > options.max_width:
            last = max(range(len(shown)), key=lambda index: (shown[index].priority, index))
            if shown[last].priority == 0:
                break
            del shown[last]
        yield self._table(shown, fold=True)
        hidden = [column.name for column in self.columns if column not in shown and column.name]
        if hidden:
            where = f" ({self.elsewhere})" if self.elsewhere else ""
            line = f" hidden: terminal too narrow{where}: {', '.join(hidden)}"
            yield Text(line, style="dim", no_wrap=not self.wrap, overflow="fold" if self.wrap else "ellipsis")

    def _width(self, console: Console, options: ConsoleOptions, columns: Sequence[Column]) -> int:
        table = self._table(columns, fold=False)
        return Measurement.get(console, options.update(max_width=10_000), table).maximum

    def _table(self, columns: Sequence[Column], *, fold: bool) -> Table:
        table = plain_table(caption=self.caption)
        for column in columns:
            table.add_column(
                column.head,
                justify="left" if column.left else "right",
                vertical="bottom",
                no_wrap=not fold,
                overflow="fold",
            )
        for index, style in enumerate(self.styles):
            table.add_row(*(column.cells[index] for column in columns), style=style, end_section=index in self.sections)
        return table
