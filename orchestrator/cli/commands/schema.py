"""``schema``: the JSON Schema of the sweep file."""

import json

import typer

from orchestrator.cli.options import Json


def schema(as_json: Json = False) -> None:  # noqa: ARG001  (accepted for uniformity; the schema is JSON in any case)
    """Print the JSON Schema of sweep files, for completion and checks in editors."""
    from orchestrator.spec.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
