"""A table that leaves out its least important columns where the terminal is too narrow for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


def plain_table(**options: object) -> Table:
    """Return a table in the house's style: one line under the head, no frame."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold", **options)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column: its head, its cells from top to bottom, and how soon it is left out.

    Attributes:
        head: may hold line breaks.
        cells: one per row; where a cell is wider than the terminal, its text is folded, never cut.
        name: how the line beneath the table names the column when it is hidden; empty: it is hidden without a word.
        priority: 0 is always shown; of the others the largest is hidden first, of equals the rightmost.
        left: align to the left; numbers are aligned to the right.
    """

    head: str
    cells: Sequence[RenderableType]
    name: str = ""
    priority: int = 0
    left: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FittingTable:
    """A table as wide as the terminal allows. No cell is truncated: columns are hidden, and named beneath the table.

    Attributes:
        columns: in their order; all have as many cells.
        styles: one per row.
        caption: a line beneath the table.
        sections: indices of rows after which a line is drawn.
        elsewhere: where hidden columns can be read, in words.
        wrap: whether the line that names hidden columns may become several.
    """

    columns: Sequence[Column]
    styles: Sequence[str | None]
    caption: str | None = None
    sections: frozenset[int] = field(default_factory=frozenset)
    elsewhere: str = ""
    wrap: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, and a line that names the hidden columns."""
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
            told = f" hidden: terminal too narrow{where}: {', '.join(hidden)}"
            yield Text(told, style="dim", no_wrap=not self.wrap, overflow="fold" if self.wrap else "ellipsis")

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
