"""The request of one command: the sweep file, its objective and tracking location, and a digest of all of it.

A finished sweep stores the digest. If the same request comes again, the command answers it without reading the data.
If anything differs (the sweep file, the version of this program, a file of data, model or objective), the command opens
and checks the sweep as usual.
"""

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

from orchestrator.assets.marks import mark, mark_of
from orchestrator.core.data import Origin
from orchestrator.core.system.secrets import redact
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import Location, locate
from orchestrator.version import __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """One command's request.

    Attributes:
        spec: the checked sweep file.
        objective: the loaded objective; None: a function.
        location: the tracking store and the model registry.
        digest: digest of all inputs of the result; None if computing it needs the data or the hub.
    """

    spec: SweepSpec
    objective: Objective | None
    location: Location
    digest: str | None


def request_of(spec: SweepSpec) -> SweepRequest:
    """Return the request of a sweep file.

    Raises:
        UserError: the objective cannot be loaded.
    """
    objective = (
        load_objective(spec.objective, (), spec.data.chat_template, spec.data.prompt) if spec.function is None else None
    )
    location = locate(spec.tracking)
    return SweepRequest(spec=spec, objective=objective, location=location, digest=_digest(spec, objective, location))


def _digest(spec: SweepSpec, objective: Objective | None, location: Location) -> str | None:
    sources = [spec.data.source, *spec.data.shift.values(), *([spec.data.general] if spec.data.general else [])]
    if spec.model.origin is not Origin.HUB:  # a hub model is compared by its name only
        sources.append(spec.model)
    if spec.function is not None:  # the files read by a function are unknown
        sources, code = [], spec.function.path
    else:
        code = spec.objective if spec.objective.endswith(".py") else inspect.getfile(type(objective))
    marks = [*map(mark, sources), mark_of(Path(code))]
    if None in marks:
        return None
    content = redact(repr((__version__, spec, location, marks)))  # a digest of a password would confirm a guess
    return hashlib.sha256(content.encode()).hexdigest()
