"""Preference tuning: the columns of pairs, their tokens, and the losses."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from objectives import chat_preference
from objectives.preference import OBJECTIVE
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.tasks.preference import PreferenceLossName
from orchestrator.objective.loading import load_objective
from orchestrator.objective.preference.chat import ChatPreferencePairs
from orchestrator.objective.preference.columns import EQUAL, NO_ANSWER, read_pairs
from orchestrator.objective.preference.losses import Answers, PreferenceLoss
from orchestrator.objective.sequences import separate
from tests.fakes.tiny_models import tiny_llama

LOGPS, REFERENCE, TOKENS = [[-4.0, -9.0], [-12.0, -6.0]], [[-5.0, -8.0], [-10.0, -6.5]], [[2.0, 3.0], [4.0, 2.0]]


def log_sigmoid(value: float) -> float:
    return -math.log1p(math.exp(-value))


def odds(logp: float) -> float:
    return logp - math.log(1 - math.exp(logp))


EXPECTED = {
    "dpo": [-0.9 * log_sigmoid(0.5 * h) - 0.1 * log_sigmoid(-0.5 * h) for h in (2.0, -2.5)],
    "dpo_norm": [-0.9 * log_sigmoid(0.5 * h) - 0.1 * log_sigmoid(-0.5 * h) for h in (0.5 + 1 / 3, -0.5 - 0.25)],
    "ipo": [(h - 1.0) ** 2 for h in (0.5 + 1 / 3, -0.5 - 0.25)],
    "simpo": [-0.9 * log_sigmoid(0.5 * h - 0.3) - 0.1 * log_sigmoid(0.3 - 0.5 * h) for h in (1.0, 0.0)],
    "orpo": [2.0 - 0.5 * log_sigmoid(odds(-2.0) - odds(-3.0)), 3.0 - 0.5 * log_sigmoid(0.0)],
}


def source(folder: Path, *rows: dict[str, str]) -> Source:
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return Source(origin=Origin.LOCAL, name=str(file))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    model = tiny_llama(tmp_path_factory.mktemp("tokenizer") / "model")
    return load_tokenizer(Source(origin=Origin.LOCAL, name=str(model)))


@pytest.mark.parametrize("name", [*PreferenceLossName])
def test_losses_equal_published_formulas(name: PreferenceLossName) -> None:
    answers = Answers(
        logps_B2=torch.tensor(LOGPS), reference_B2=torch.tensor(REFERENCE), tokens_B2=torch.tensor(TOKENS)
    )
    found = PreferenceLoss(name=name, beta=0.5, gamma=0.3).values(answers, 0.1)
    assert found.tolist() == pytest.approx(EXPECTED[name], rel=1e-5)
    assert answers.margin_B.tolist() == pytest.approx([2.0, -2.5])


def test_orpo_stays_finite_at_certain_answers() -> None:
    logps = torch.tensor([[0.0, -1e-9]], requires_grad=True)
    answers = Answers(logps_B2=logps, reference_B2=torch.zeros(1, 2), tokens_B2=torch.ones(1, 2))
    loss = PreferenceLoss(name=PreferenceLossName.ORPO, beta=0.1, gamma=0.0).values(answers).sum()
    loss.backward()
    assert loss.isfinite()
    assert logps.grad is not None
    assert logps.grad.isfinite().all()


def test_prompt_is_given_or_common_beginning(tmp_path: Path) -> None:
    given = source(tmp_path, {"question": "Hi?", "chosen": " Yes.", "rejected": " No."})
    [row] = read_pairs(given, {"prompt": "question"}, Counter())
    assert (row["text"], row["chosen"], row["rejected"]) == ("Hi?", " Yes.", " No.")
    whole = source(tmp_path, {"chosen": "Q: hi? A: yes", "rejected": "Q: hi? A: no"})
    [row] = read_pairs(whole, {}, Counter())
    assert (row["text"], row["chosen"], row["rejected"]) == ("Q: hi? A:", " yes", " no")


def test_unusable_pairs_are_counted(tmp_path: Path) -> None:
    left_out = Counter[str]()
    rows = [
        {"prompt": "a", "chosen": "x", "rejected": "y"},
        {"prompt": "a", "chosen": "x", "rejected": "z"},
        {"prompt": "b", "chosen": " ", "rejected": "y"},
        {"prompt": "c", "chosen": "x", "rejected": "x"},
    ]
    found = read_pairs(source(tmp_path, *rows), {}, left_out)
    assert [row["rejected"] for row in found] == ["y", "z"]
    assert left_out == {NO_ANSWER: 1, EQUAL: 1}


def test_missing_prompt_names_row_and_remedy(tmp_path: Path) -> None:
    rows = [{"chosen": "ab", "rejected": "ac"}, {"chosen": "yes", "rejected": "no"}]
    with pytest.raises(DataError, match=r"no prompt in row 2\. .*Set data.columns: \{prompt: COLUMN\}"):
        read_pairs(source(tmp_path, *rows), {}, Counter())


def test_missing_column_names_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'rejected' not found .*Set data.columns: \{rejected: COLUMN\}"):
        read_pairs(source(tmp_path, {"prompt": "a", "chosen": "b"}), {}, Counter())


def test_prompts_with_several_pairs_stay_in_one_split(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"question {number // 2}", "chosen": "yes", "rejected": f"no {number % 2}"} for number in range(20)
    ]
    splits = OBJECTIVE.splits(DataPlan(source=source(tmp_path, *rows), validation=4, test=4))
    prompts = [{*rows["text"]} for rows in (splits.train, splits.validation, splits.test)]
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 4, 4)
    assert len(set.union(*prompts)) == sum(map(len, prompts))


def test_answers_share_one_truncated_prompt(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = read_pairs(
        source(tmp_path, {"prompt": "good film " * 10, "chosen": "fine", "rejected": "the plot was sad"}), {}, Counter()
    )
    [example] = OBJECTIVE.encode(rows, tokenizer, 12)
    chosen, rejected = separate(example)
    assert len(rejected["input_ids"]) == 12
    prompts = [
        [token for token, label in zip(*one.values(), strict=True) if label == -100] for one in separate(example)
    ]
    assert prompts[0] == prompts[1]
    assert chosen["labels"][-1] == rejected["labels"][-1] == tokenizer.eos_token_id
    batch = OBJECTIVE.collate([example], tokenizer)
    assert batch["input_ids"].shape == (2, 12)
    assert batch["attention_mask"].sum(1).tolist() == [len(chosen["input_ids"]), 12]


def test_conversations_are_rendered_once_per_answer(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(
        "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant' }}{% endif %}"
    )
    question, answers = {"role": "user", "content": "film"}, ("good", "bad and sad")
    told = [{"role": "assistant", "content": text} for text in answers]
    file = tmp_path / "chat.jsonl"
    objective = load_objective("chat_preference", (), template.read_text())
    assert isinstance(objective, ChatPreferencePairs)
    rows = [
        {"prompt": [question], "chosen": told[:1], "rejected": told[1:]},
        {"chosen": [question, told[0]], "rejected": [question, told[1]]},
        {"prompt": "film", "chosen": "good", "rejected": "bad and sad"},
    ]
    encoded = []
    for row in rows:
        file.write_text(json.dumps(row))
        read = objective.read_pairs(Source(origin=Origin.LOCAL, name=str(file)), {}, Counter())
        encoded += objective.encode(read, tokenizer, 32)
    assert encoded[0] == encoded[1] == encoded[2]
    whole = [[question, each] for each in told]
    for side, messages in zip(separate(encoded[0]), whole, strict=True):
        text = tokenizer.apply_chat_template(messages, chat_template=template.read_text(), tokenize=False)
        assert side["input_ids"] == tokenizer(text, add_special_tokens=False)["input_ids"]
        learnt = [token for token, label in zip(side["input_ids"], side["labels"], strict=True) if label != -100]
        assert (
            learnt
            == tokenizer(f" {messages[1]['content']}{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]
        )


def test_conversation_without_common_prompt_is_refused(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"chosen": turns, "rejected": turns[1:]}))
    with pytest.raises(DataError, match="row 1: no prompt"):
        chat_preference.OBJECTIVE.read_pairs(Source(origin=Origin.LOCAL, name=str(file)), {}, Counter())
