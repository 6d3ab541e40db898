"""Tokens of the assistant's turns, found by rendering prefixes or by the template's own marks."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from orchestrator.assets.models import is_on_this_machine
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.chat import Message, Renderer, Role
from tests.fakes.tiny_chat import FORGETFUL, MARKED, SMOLLM2, tiny_chat_model

REAL = Source(origin=Origin.PACKAGED, name="smollm2")


def chat(*turns: str) -> tuple[Message, ...]:
    roles = (Role.USER, Role.ASSISTANT)
    return tuple(Message(role=roles[at % 2], content=text) for at, text in enumerate(turns))


TWO_TURNS = chat("is it good?", "a good film", "and the plot?", "very! bad plot")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_chat_model(tmp_path_factory.mktemp("chat")))
    return loaded


def learnt(renderer: Renderer, messages: tuple[Message, ...]) -> str:
    [row] = renderer.render([messages])
    return str(renderer.tokenizer.decode([token for token, used in zip(row.ids, row.mask, strict=True) if used]))


def test_mask_holds_answers_and_their_ends(tokenizer: PreTrainedTokenizerBase) -> None:
    renderer = Renderer.create(tokenizer)
    assert learnt(renderer, TWO_TURNS) == "a good film <|im_end|> very ! bad plot <|im_end|>"
    assert renderer.end == tokenizer.convert_tokens_to_ids("<|im_end|>")
    [row] = renderer.render([TWO_TURNS])
    prompt = renderer.prompt_ids(TWO_TURNS[:-1])
    assert row.ids[: len(prompt)] == prompt
    assert row.mask[len(prompt) :] == [True] * 5


def test_prefixes_give_the_mask_of_the_templates_own_marks(tokenizer: PreTrainedTokenizerBase) -> None:
    marked = Renderer.create(tokenizer, MARKED)
    assert marked.marks
    conversations = [TWO_TURNS, TWO_TURNS[:2], chat("good? good", "a good plot!")]
    assert marked.render(conversations) == replace(marked, marks=False).render(conversations)


def test_template_that_changes_earlier_turns_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    renderer = Renderer.create(tokenizer, FORGETFUL)
    assert learnt(renderer, TWO_TURNS) == "a good film <|im_end|> very ! bad plot <|im_end|>"  # nothing is removed here
    changed = chat("is it good?", "very! a good film", "and?", "bad")
    with pytest.raises(DataError, match=r"renders turn 2 of the conversation 'is it good\?' .* in another way"):
        renderer.render([changed])


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}", "sets no special token"),
        ("{{ raise_exception('no chats here') }}", r"refuses the conversation 'Hello\?' .*no chats here"),
        ("{% for m in messages %}{{ m.content", "refuses the conversation"),
    ],
)
def test_unusable_template_is_refused(tokenizer: PreTrainedTokenizerBase, template: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        Renderer.create(tokenizer, template)


def test_missing_template_is_named(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model(tmp_path / "model", template=None))
    with pytest.raises(DataError, match=r"model has no chat template. Give one with data.chat_template"):
        Renderer.create(tokenizer)


def test_marks_must_hold_every_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    last_only = MARKED.replace("{% if message['role'] == 'assistant' %}", "{% if loop.last %}")
    with pytest.raises(DataError, match="marks 1 of the 2 assistant turns"):
        Renderer.create(tokenizer, last_only).render([TWO_TURNS])


def test_marks_must_hold_the_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    without_end = MARKED.replace(
        "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
    )
    with pytest.raises(DataError, match="would not learn to end its answers"):
        Renderer.create(tokenizer, without_end)


def test_refusal_of_a_marked_template_is_named(tokenizer: PreTrainedTokenizerBase) -> None:
    strict = MARKED.replace(
        "{% for", "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}{% for", 1
    )
    system = (Message(role=Role.SYSTEM, content="be nice"), *TWO_TURNS)
    with pytest.raises(DataError, match=r"refuses the conversation .*no system"):
        Renderer.create(tokenizer, strict).render([system])


@pytest.mark.skipif(not is_on_this_machine(REAL), reason="SmolLM2 is not on this machine")
def test_real_template_of_smollm2() -> None:
    tokenizer = load_tokenizer(REAL, classifies=False)
    assert tokenizer.chat_template == SMOLLM2
    renderer = Renderer.create(tokenizer)
    assert learnt(renderer, chat("Hi", "Hello you.", "More?", "\nNo,\n\nthanks")) == (
        "Hello you.<|im_end|>\nNo,\n\nthanks<|im_end|>"
    )
    # Against transformers' own mask, with the same template marked.
    answer = "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    plain = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    head = "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}" + answer
    marked = SMOLLM2.replace(plain, head + "{% else %}{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}")
    assert marked != SMOLLM2
    assert Renderer.create(tokenizer, marked).render([TWO_TURNS]) == renderer.render([TWO_TURNS])
