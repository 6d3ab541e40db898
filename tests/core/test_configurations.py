"""Parameters with different values in several configurations."""

from orchestrator.core.configurations import ConfigurationSet
from orchestrator.core.space import ParamValue

WITH_RATIO: dict[str, ParamValue] = {"rank": 4, "alpha": 32.0, "lora_plus_ratio": 2.0}
WITHOUT_RATIO: dict[str, ParamValue] = {"rank": 4, "alpha": 32.0}


def test_missing_parameter_counts_as_varied() -> None:
    assert ConfigurationSet([WITH_RATIO, WITHOUT_RATIO]).varied == ("lora_plus_ratio",)
    assert ConfigurationSet([WITHOUT_RATIO, WITH_RATIO]).varied == ("lora_plus_ratio",)


def test_all_parameters_of_one_configuration_vary() -> None:
    assert ConfigurationSet([WITHOUT_RATIO]).varied == ("rank", "alpha")
    assert ConfigurationSet().varied == ()


def test_multivalued_ignores_missing_parameters() -> None:
    assert ConfigurationSet([WITH_RATIO, WITHOUT_RATIO]).multivalued == ()
    configurations = ConfigurationSet([WITH_RATIO, WITHOUT_RATIO])
    configurations.add({**WITH_RATIO, "lora_plus_ratio": 4.0})
    assert configurations.multivalued == ("lora_plus_ratio",)
