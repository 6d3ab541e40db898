"""The shipped tasks, the example of a user's own and the tests' made-up tasks keep the contract."""

from pathlib import Path

import pytest

from objectives import (
    classification,
    headline,
    headline_seq2seq,
    multi_label,
    regression,
    sentiment,
    short_headline,
    topic,
)
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.loading import load_objective, with_classes
from orchestrator.objective.protocol import Objective
from orchestrator.testing import ObjectiveContract
from tests.fakes.tiny_models import tiny_bert, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq

EXAMPLE = Path(__file__).parents[2] / "docs/examples/my_objective.py"


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A tokenizer that puts a token before and one behind each text."""
    return Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path_factory.mktemp("encoder"))))


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A tokenizer that ends each text with a token."""
    return Source(origin=Origin.LOCAL, name=str(tiny_t5(tmp_path_factory.mktemp("decoder"))))


class Classifies(ObjectiveContract):
    @pytest.fixture
    def model(self, encoder: Source) -> Source:
        return encoder


class Writes(ObjectiveContract):
    @pytest.fixture
    def model(self, decoder: Source) -> Source:
        return decoder


class TestSentiment(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return sentiment.OBJECTIVE


class TestTopic(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return topic.OBJECTIVE


class TestClassification(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return with_classes(classification.OBJECTIVE, topic.OBJECTIVE.labels)


class TestMultiLabel(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return with_classes(multi_label.OBJECTIVE, topic.OBJECTIVE.labels)

    @pytest.fixture
    def data(self) -> DataPlan:
        """Return a small set: each test would read the 16,410 rows of the default one."""
        return DataPlan(source=topic.OBJECTIVE.default_source, train=60, validation=20, test=20)


class TestRegression(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return with_classes(regression.OBJECTIVE, ("label",))


class TestHeadline(Writes):
    @pytest.fixture
    def objective(self) -> Objective:
        return headline.OBJECTIVE


class TestHeadlineSeq2Seq(Writes):
    @pytest.fixture
    def objective(self) -> Objective:
        return headline_seq2seq.OBJECTIVE


class TestGeneration(Writes):
    @pytest.fixture
    def objective(self) -> Objective:
        return load_objective("generation", (), None, "Translate {text} to French: ")


class TestShortHeadline(Writes):
    @pytest.fixture
    def objective(self) -> Objective:
        return short_headline.OBJECTIVE


class TestExample(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return load_objective(str(EXAMPLE))


class TestTinyClassification(Classifies):
    @pytest.fixture
    def objective(self) -> Objective:
        return TinyClassification()


class TestTinyCausal(Writes):
    @pytest.fixture
    def objective(self) -> Objective:
        return TinyCausal()


class TestTinySeq2Seq(Writes):
    @pytest.fixture
    def objective(self) -> Objective:
        return TinySeq2Seq()


class Broken(TinyClassification):
    """Its loss is the batch's mean, which rows of other trials change."""

    def losses(self, logits, batch, label_smoothing=0.0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        loss_sum_B, units_B = super().losses(logits, batch, label_smoothing)
        return loss_sum_B * 0 + loss_sum_B.mean(), units_B


def test_contract_catches_losses_mixed_over_rows(encoder: Source) -> None:
    from orchestrator.assets.tokens import load_tokenizer

    contract, broken = Classifies(), Broken()
    tokenizer = load_tokenizer(encoder)
    splits = broken.splits(DataPlan(source=broken.default_source, train=8, validation=4, test=4))
    batch = contract.make_batch(broken, splits, tokenizer)
    with pytest.raises(AssertionError):
        contract.test_row_loss_depends_on_the_row_alone(broken, batch)
