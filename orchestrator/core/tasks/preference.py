"""The names of the losses over pairs of answers; ``objective.preference.losses`` has their formulas."""

import enum


class PreferenceLossName(enum.StrEnum):
    """A loss over a preferred and a rejected answer."""

    DPO = "dpo"
    DPO_NORM = "dpo_norm"
    IPO = "ipo"
    SIMPO = "simpo"
    ORPO = "orpo"
