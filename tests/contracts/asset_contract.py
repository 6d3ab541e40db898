"""What every source of rows promises, whatever its origin. A suite inherits this and provides ``source``."""

import pytest

from orchestrator.assets.data import read_table
from orchestrator.core.data import Source
from orchestrator.core.errors import AssetError, DataError, UserError


class AssetContract:
    """Subclasses provide the fixtures ``source`` (columns ``text`` and ``label``, at least 4 rows) and ``missing``."""

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError

    @pytest.fixture
    def missing(self) -> Source:
        """A source of the same origin that does not exist."""
        raise NotImplementedError

    def test_rows_have_the_required_columns(self, source: Source) -> None:
        rows = read_table(source, required=("text", "label"))
        assert len(rows) >= 4
        assert {"text", "label"} <= set(rows.column_names)
        assert all(isinstance(text, str) and text for text in rows["text"])

    def test_reading_twice_gives_the_same_rows(self, source: Source) -> None:
        assert read_table(source).to_dict() == read_table(source).to_dict()

    def test_rows_are_in_memory(self, source: Source) -> None:
        assert read_table(source).cache_files == []

    def test_columns_are_renamed_to_ours(self, source: Source) -> None:
        plain = read_table(source)
        swapped = read_table(source, {"text": "label", "label": "text"})
        assert swapped["text"][:] == plain["label"][:]
        assert swapped["label"][:] == plain["text"][:]

    def test_conflicting_column_is_dropped(self, source: Source) -> None:
        plain = read_table(source)
        rows = read_table(source, {"text": "label"})
        assert rows["text"][:] == plain["label"][:]
        assert "label" not in rows.column_names

    def test_missing_column_message_has_remedy(self, source: Source) -> None:
        with pytest.raises(DataError, match=r"data\.columns\.label: column 'lable' not found .*text.*: {label: label}"):
            read_table(source, {"label": "lable"})
        with pytest.raises(DataError, match=r"data\.columns: column 'quite-other' not found in .*COLUMN"):
            read_table(source, required=("quite-other",))

    def test_suggested_column_has_no_other_use(self, source: Source) -> None:
        with pytest.raises(DataError, match=r"column 'texts' not found .*Set data\.columns: {texts: text}"):
            read_table(source, required=("texts", "label"))
        with pytest.raises(DataError, match=r"column 'texts' not found .*Set data\.columns: {texts: COLUMN}"):
            read_table(source, required=("text", "texts"))
        with pytest.raises(DataError, match=r"column 'texts' not found .*Set data\.columns: {texts: COLUMN}"):
            read_table(source, {"review": "text"}, required=("texts",))

    def test_a_missing_source_says_so(self, missing: Source) -> None:
        with pytest.raises((AssetError, UserError), match=missing.name.rsplit("/", maxsplit=1)[-1]):
            read_table(missing)
