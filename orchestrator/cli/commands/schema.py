"""``schema``: the JSON Schema of the sweep file."""

import json

import typer

from orchestrator.cli.options import Json


def schema(as_json: Json = False) -> None:  # noqa: ARG001  (the schema is JSON either way)
    """Print the sweep file's JSON Schema; editors complete and check with it."""
    from orchestrator.spec.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
