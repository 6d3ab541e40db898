"""A pack writes for each slot the answers that plain peft writes for the adapter alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.evaluation.generation.answers import LEFT_OUT, Answer
from orchestrator.evaluation.generation.write import finished, write
from orchestrator.objective.protocol import Objective, WritesAnswers
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama, tiny_t5, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinySeq2Seq, tiny_rows
from tests.training.packed.packs import World, task

MODELS: dict[str, tuple[Callable[[Path], Path], type[Objective], str]] = {
    "gpt2": (tiny_gpt2, TinyCausal, "c_attn"),
    "llama": (tiny_llama, TinyCausal, "q_proj,down_proj"),
    "t5": (tiny_t5, TinySeq2Seq, "k,wo"),
}
MOST = 6


@pytest.mark.parametrize("name", MODELS)
def test_packed_answers_equal_pefts(name: str, tmp_path: Path) -> None:
    build, objective, targets = MODELS[name]
    world = World(without_dropout(build(tmp_path / "model")), objective(), tmp_path / "sweep")
    assert isinstance(world.objective, WritesAnswers)
    tokenizer = world.data.tokenizer
    prompts = world.objective.prompts(tiny_rows(7, 5), tokenizer, 32)
    tasks = [task(0, rank=4), task(1, rank=16, target_modules=targets), task(2, rank=7)]
    packed = world.stepper.write([world.slot_trial(each, b_std=0.5) for each in tasks], prompts, MOST)
    assert world.stepper.stores_keys == (name != "t5")
    for trial, answers in zip(tasks, packed, strict=True):
        model = world.peft(trial, b_std=0.5).model.eval()
        alone = [plain(model, prompt, world) for prompt in prompts]
        assert answers == alone
        assert write(model, prompts, tokenizer, MOST) == alone  # batches with padding too
    assert len({answer.text for answers in packed for answer in answers}) > 3
    world.stepper.close()


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_time_limit_leaves_answers_unfinished(name: str, tmp_path: Path) -> None:
    build, objective, _ = MODELS[name]
    world = World(without_dropout(build(tmp_path / "model")), objective(), tmp_path / "sweep")
    assert isinstance(world.objective, WritesAnswers)
    tokenizer = world.data.tokenizer
    prompts = world.objective.prompts(tiny_rows(7, 5), tokenizer, 32)
    tasks = [task(0, rank=4), task(1, rank=8)]
    trials, model = [world.slot_trial(each, b_std=0.5) for each in tasks], world.peft(tasks[0], b_std=0.5).model.eval()
    whole = world.stepper.write(trials, prompts, MOST, 3600.0)
    assert whole == world.stepper.write(trials, prompts, MOST)
    assert write(model, prompts, tokenizer, MOST, time_limit_s=3600.0) == whole[0]
    for limit_s in (0.0, 1e-4):  # no batch is begun; one ends after its first token
        packed = world.stepper.write(trials, prompts, 100, limit_s)
        for answers in (*packed, write(model, prompts, tokenizer, 100, time_limit_s=limit_s)):
            assert len(answers) == len(prompts)
            assert LEFT_OUT in answers
            assert all(answer == LEFT_OUT or not answer.text for answer in answers)  # or the first token is the end
    world.stepper.close()


def test_answer_without_end_is_cut_or_unfinished(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(Source(origin=Origin.LOCAL, name=str(tiny_llama(tmp_path))))
    vocabulary = tokenizer.get_vocab()
    good, end = vocabulary["good"], vocabulary["[SEP]"]
    assert finished([good, good], tokenizer, [end], 3) == LEFT_OUT
    assert finished([good, good, good], tokenizer, [end], 3) == Answer(text="good good good", cut=True)
    assert finished([good, end], tokenizer, [end], 3) == Answer(text="good", cut=False)
    assert finished([good, good], tokenizer, [end]) == Answer(text="good good", cut=True)


def plain(model: torch.nn.Module, prompt: list[int], world: World) -> Answer:
    """Return peft's answer to one prompt, without padding."""
    tokenizer = world.data.tokenizer
    generate: Callable[..., torch.Tensor] = model.generate  # type: ignore[assignment]
    with torch.inference_mode():
        ids_1T = generate(
            input_ids=torch.tensor([prompt]), max_new_tokens=MOST, do_sample=False, eos_token_id=tokenizer.eos_token_id
        )
    new = ids_1T[0, 1 if isinstance(world.objective, TinySeq2Seq) else len(prompt) :].tolist()
    cut = tokenizer.eos_token_id not in new
    kept = new if cut else new[: new.index(tokenizer.eos_token_id)]
    return Answer(text=str(tokenizer.decode(kept, skip_special_tokens=True)).strip(), cut=cut)
