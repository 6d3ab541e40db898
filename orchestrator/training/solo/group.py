"""One worker of a trial with several processes: builds the model, joins the others and trains."""

import os
from dataclasses import replace

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.solo.workers import ReportChannel, Worker

_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK")
"""Variables read by accelerate, which would divide model and rows in its own way."""


def train_share(plan: EnginePlan, task: TrialTask, channel: ReportChannel) -> None:
    """Train a trial with the other workers of torch's process group, until its last report.

    Args:
        plan: the sweep's plan.
        task: the trial.
        channel: receives the reports, of which only the first worker's counts, and pauses the training.
    """
    import torch.distributed as dist

    from orchestrator.objective.loading import load_objective
    from orchestrator.training.checkpoints.trial_folder import STATE
    from orchestrator.training.context import EngineContext
    from orchestrator.training.solo.session import Session

    for name in _LAUNCHERS:
        os.environ.pop(name, None)
    worker = Worker(rank=dist.get_rank(), world=dist.get_world_size())
    plan = replace(plan, threads=max(1, plan.threads // plan.workers))
    objective = load_objective(plan.objective, plan.data.classes, plan.data.chat_template, plan.data.prompt)
    context = EngineContext(plan, objective)
    Session(context, task, context.trial_folder(task, STATE), worker).train(channel)
