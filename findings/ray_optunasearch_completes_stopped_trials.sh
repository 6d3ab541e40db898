#!/usr/bin/env bash
# ray 2.60.0 with optuna 5.0.0: OptunaSearch tells Optuna that trials stopped by ASHA are complete.
#
# Expected: a trial stopped by AsyncHyperBandScheduler is PRUNED in the study, with its last step, as Optuna's own pruners
# leave it. TPE then ranks it behind the complete trials, by step and value.
# Observed: every trial with a result is COMPLETE, with its value at the time of the stop. The study holds no pruned trial.
# TPE compares values after 1 of 9 iterations with values after 9; with a loss that rises late, a stopped trial is
# the best trial of the study.
#
# Output:
#   trials of Tune     iterations 1: 5, iterations 3: 1, iterations 9: 3
#   states of Optuna   COMPLETE: 9
#   best of Optuna     a trial stopped after 3 of 9 iterations
source "$(dirname "$0")/lib.sh"
packages "ray[tune]==2.60.0" optuna==5.0.0
run <<'PY'
import os
from collections import Counter

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import optuna
import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

storage = optuna.storages.InMemoryStorage()


def train(config):
    for iteration in range(1, 10):  # the loss rises late in every trial: overfitting
        tune.report({"loss": config["x"] + 0.5 * (iteration > 3)})


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
search = OptunaSearch(metric="loss", mode="min", seed=1, storage=storage, study_name="study")
tuner = tune.Tuner(
    train,
    param_space={"x": tune.uniform(0, 1)},
    tune_config=tune.TuneConfig(
        metric="loss",
        mode="min",
        num_samples=9,
        search_alg=ConcurrencyLimiter(search, max_concurrent=1),
        scheduler=AsyncHyperBandScheduler(max_t=9, grace_period=1, reduction_factor=3),
    ),
    run_config=tune.RunConfig(verbose=0, storage_path=os.getcwd()),
)
results = tuner.fit()
iterations = Counter(result.metrics["training_iteration"] for result in results)
study = optuna.load_study(study_name="study", storage=storage)
states = Counter(trial.state.name for trial in study.trials)
trained = {result.config["x"]: result.metrics["training_iteration"] for result in results}
best = trained[study.best_params["x"]]
print("trials of Tune     " + ", ".join(f"iterations {n}: {count}" for n, count in sorted(iterations.items())))
print("states of Optuna   " + ", ".join(f"{name}: {count}" for name, count in states.items()))
print(f"best of Optuna     a trial stopped after {best} of 9 iterations")
ray.shutdown()
assert min(iterations) < 9 == max(iterations)
assert set(states) == {"COMPLETE"}
assert best < 9
PY
