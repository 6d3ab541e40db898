"""Rows in other languages than the base model's."""

from pathlib import Path

import pytest

from orchestrator.core.data import Origin, Source
from orchestrator.objective.rows.languages import is_english_only, is_other_language, language_warning

ENGLISH = ["The web portal crashes when I open the attachment.", "Error 502!", "", "Notifications arrive late.", "C++"]
OTHER = ["Warum wurden mir im April 310 EUR doppelt abgebucht?", "アプリがエラーで落ちます。", "La facture est fausse."]
MINILM = Source(origin=Origin.PACKAGED, name="minilm")


def test_letters_and_frequent_words_tell_languages() -> None:
    assert [text for text in (*ENGLISH, *OTHER) if is_other_language(text)] == OTHER


def test_warning_needs_english_model_and_other_rows() -> None:
    warning = language_warning(MINILM, [*ENGLISH, *OTHER])
    assert warning is not None
    assert warning.startswith("about 38% of the training rows are probably not English ('Warum wurden mir")
    assert language_warning(MINILM, [*ENGLISH * 50, *OTHER]) is None
    assert language_warning(Source(origin=Origin.HUB, name="org/model"), OTHER) is None


@pytest.mark.parametrize(
    ("head", "english"),
    [
        ("language: en", True),
        ("language:\n- en", True),
        ("language: [en]", True),
        ("language:\n- en\n- de", False),
        ("language: de", False),
        ("license: mit", False),
    ],
)
def test_model_folder_states_its_language(tmp_path: Path, head: str, english: bool) -> None:
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n# A model\n")
    assert is_english_only(Source(origin=Origin.LOCAL, name=str(tmp_path))) is english
