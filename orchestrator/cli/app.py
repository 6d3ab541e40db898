"""The command line application: its commands, grouped as ``--help`` shows them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typing_extensions import override

from orchestrator.cli.commands import (
    clean,
    control,
    data,
    doctor,
    explain,
    export,
    init,
    new,
    predict,
    promote,
    registry,
    replay,
    report,
    rollback,
    schema,
    serve,
    status,
    sweep,
    table,
    ui,
    validate,
)
from orchestrator.cli.failures import guarded

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter  # typer has no public name for them

PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Search": {
        "init": init.init,
        "sweep": sweep.sweep,
        "validate": validate.validate,
        "data": data.data,
        "schema": schema.schema,
    },
    "Control": {"pause": control.pause, "resume": control.resume, "extend": control.extend},
    "Inspect": {"status": status.status, "report": report.report, "explain": explain.explain, "ui": ui.ui},
    "Compare": {"table": table.table, "replay": replay.replay},
    "Use": {
        "promote": promote.promote,
        "rollback": rollback.rollback,
        "predict": predict.predict,
        "serve": serve.serve,
        "export": export.export,
    },
    "Maintenance": {"doctor": doctor.doctor, "clean": clean.clean},
}


class _Command(TyperCommand):
    """A command whose help shows no value type for flags, and fills the lines of the terminal."""

    @override
    def get_params(self, ctx: "Context") -> "list[Parameter]":
        return _with_bare_flags(super().get_params(ctx))

    @override
    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        paragraphs = (self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().format_help(ctx, formatter)


class _Group(TyperGroup):
    """The program, with the same help for its own flags."""

    @override
    def get_params(self, ctx: "Context") -> "list[Parameter]":
        return _with_bare_flags(super().get_params(ctx))


def make_app() -> typer.Typer:
    """Return the application with every subcommand."""
    app = typer.Typer(
        name="loratory",
        cls=_Group,
        help="Find the best adapter for a task: one YAML file, many trials, one winner.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for panel, commands in PANELS.items():
        for name, command in commands.items():
            app.command(name, cls=_Command, rich_help_panel=panel)(command)
    app.add_typer(new.make_new(_Command), name="new", rich_help_panel="Search")
    app.add_typer(control.make_trial(_Command), name="trial", rich_help_panel="Control")
    app.add_typer(registry.make_registry(_Command), name="registry", rich_help_panel="Use")
    return app


def _with_bare_flags(params: "list[Parameter]") -> "list[Parameter]":
    """Remove the type ``<bool>`` from flags. Flags take no value, so the type would mislead."""
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


def run() -> int:
    """Run the command in ``sys.argv`` and return its exit code."""
    return guarded(make_app())


def _version(wanted: bool) -> None:
    if wanted:
        from orchestrator.version import __version__

        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """Find the best adapter for a task: one YAML file, many trials, one winner."""
