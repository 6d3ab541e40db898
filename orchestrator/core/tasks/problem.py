"""The problem solved by a classification head."""

import enum


class Problem(enum.StrEnum):
    """The problem solved by a sequence classification head, with transformers' names for ``problem_type``."""

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"
    REGRESSION = "regression"
