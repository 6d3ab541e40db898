"""Every model family of transformers with a supported head trains correctly, or is refused."""

from pathlib import Path

import pytest
import transformers

from orchestrator.objective.protocol import Head
from tests.families.page import families_page
from tests.families.tiny_families import families
from tests.families.walk import Found, walk

PAGE = Path(__file__).parents[2] / "docs" / "families.md"


@pytest.mark.extended
@pytest.mark.timeout(3600)
def test_no_family_reports_something_else() -> None:
    found = [*walk(families())]
    PAGE.write_text(families_page(found, transformers.__version__), encoding="utf-8")
    assert sum(one.packs for one in found) > 100
    assert [(one.name, one.head, one.off) for one in found if one.wrong] == []


def test_page_has_the_reason_for_solo_families() -> None:
    found = [
        Found(name="bert", head="causal_lm", packs=True, off={"solo export": 0.0}),
        Found(name="fnet", head="sequence_classification", why="/a/model cannot be packed: its packed logits differ"),
        Found(name="mamba", head="causal_lm", refused=True, why="ValueError: out_proj | conv1d"),
        Found(name="blt", head="causal_lm", built=False, why="96 million parameters"),
    ]
    found.append(Found(name="fsmt", head="seq2seq_lm", why="its packed logits differ", off={"solo export": 0.1}))
    page = families_page(found, "5.23.0")
    assert "## Wrong" in page
    assert "| Packed | 0 | 0 | 1 | 0 |" in page
    assert "| causal LM | bert |" in page
    assert "| fnet | sequence classification | its packed logits differ |" in page
    assert "| mamba | causal LM | ValueError: out_proj \\| conv1d |" in page
    assert "| blt | causal LM | 96 million parameters |" in page


def test_token_heads_equal_plain_libraries() -> None:
    families = ("bert", "modernbert", "llama", "t5", "deberta-v2")
    found = {one.name: one for one in walk([(name, Head.TOKEN_CLASSIFICATION) for name in families])}
    assert {name for name, one in found.items() if one.refused or one.wrong} == set()
    assert {name for name, one in found.items() if one.packs} == {*families} - {"deberta-v2"}


def test_family_is_walked_in_its_own_process() -> None:
    [found] = walk([("gpt2", Head.CAUSAL_LM)])
    assert found.packs
    assert found.off is not None
    assert found.off.keys() == {"solo training", "packed training", "solo export", "packed export"}
    assert not found.wrong
