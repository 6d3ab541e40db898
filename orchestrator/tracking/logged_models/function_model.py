"""A checkpoint of a function as an MLflow model. MLflow stores this file beside the checkpoint and runs it.

So the file imports nothing of this project. The folder holds the checkpoint, the function's file under the name
``loratory_function.py``, and ``loratory.json``. If the file defines ``load(folder)``, this returns the model: an object
with ``predict``, or a function of the input. Without it MLflow keeps the files, and nothing can be predicted.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext

CODE = "loratory_function.py"


class FunctionModel(PythonModel):
    """The model for MLflow: passes its input to the object returned by ``load``."""

    # Without it MLflow warns at every import of this file about the missing annotation of predict.
    _skip_type_hint_validation = True

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint with the function's own ``load``."""
        folder = Path(context.artifacts["adapter"])
        load = getattr(_module(folder / CODE), "load", None)
        if load is None:
            raise mlflow.exceptions.MlflowException(
                f"the function's file defines no load(folder), so nothing can be predicted. Its checkpoint is in "
                f"{folder}; add `def load(folder)`, run the sweep again and promote its winner"
            )
        self.model = load(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Return the answers of the model.

        Args:
            context: MLflow's context, unused.
            model_input: the input, passed on.
            params: unused.
        """
        predict = getattr(self.model, "predict", self.model)
        return predict(model_input)


def _module(path: Path) -> ModuleType:
    name = f"loratory_function_{abs(hash(str(path)))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise mlflow.exceptions.MlflowException(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mlflow.models.set_model(FunctionModel())
