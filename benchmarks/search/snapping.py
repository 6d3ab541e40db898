"""Optuna trials that hold the trained configuration instead of the proposed one."""

from collections.abc import Mapping

from optuna.storages import BaseStorage

from orchestrator.core.space import ParamValue, Space
from orchestrator.search.space import distributions


def overwrite(storage: BaseStorage, study: int, number: int, space: Space, params: Mapping[str, ParamValue]) -> None:
    """Replace the proposed values of a running trial by those of the nearest untried configuration.

    Otherwise the model would learn values at points which nobody trained: with few configurations in a table, the
    nearest one is far.
    """
    trial = storage.get_trial_id_from_study_id_trial_number(study, number)
    for name, distribution in distributions(space).items():
        if name in params:
            storage.set_trial_param(trial, name, distribution.to_internal_repr(params[name]), distribution)
