"""The command `pvc`: the top of the command tree and the way every run of it ends.

Only click is imported here: `pvc --help` loads no HTTP and no tables. The objects' commands are in commands/.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from pvc_cli.app import App
from pvc_cli.errors import EXIT_CODES_HELP, CliError, ExitCode, exit_code_of
from pvc_cli.lazy import LazyGroup

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

COMMANDS = {
    "cluster": ("pvc_cli.commands.cluster:cluster", "The cluster as a whole: status, maintenance, tasks."),
    "connection": ("pvc_cli.commands.connection:connection", "The clusters this command line knows."),
    "key": ("pvc_cli.commands.key:key", "API keys: who may use the API, and as what."),
    "network": ("pvc_cli.commands.network:network", "Networks for virtual machines."),
    "node": ("pvc_cli.commands.node:node", "Nodes: the machines that run the virtual machines."),
    "plugin": ("pvc_cli.commands.plugin:plugin", "Plugins: what is loaded, what they can do, writing one."),
    "provisioner": ("pvc_cli.commands.pending:provisioner", "Make VMs from templates (not there yet)."),
    "storage": ("pvc_cli.commands.storage:storage", "Pools, volumes and their snapshots."),
    "task": ("pvc_cli.commands.task:task", "Long work the cluster is doing or has done."),
    "vm": ("pvc_cli.commands.vm:vm", "Virtual machines."),
}


def show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"pvc {version('pvc-cli')}")
    except PackageNotFoundError:
        click.echo("pvc (not installed as a package; run from its source tree)")
    ctx.exit()


def known(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Imported when it is asked for."""
    from pvc_cli.complete import connections

    return connections(ctx, param, incomplete)


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings=CONTEXT, epilog=EXIT_CODES_HELP)
@click.option(
    "-c", "--connection", envvar="PVC_CONNECTION", metavar="NAME", help="The cluster to talk to [local].",
    shell_complete=known,
)  # fmt: skip
@click.option("-v", "--debug", envvar="PVC_DEBUG", is_flag=True, help="Show each request and its answer's head.")
@click.option("-q", "--quiet", envvar="PVC_QUIET", is_flag=True, help="Write nothing to standard error.")
@click.option("-s", "--silent", envvar="PVC_SILENT", is_flag=True, help="Write nothing at all; only the exit code.")
@click.option("-u", "--unsafe", envvar="PVC_UNSAFE", is_flag=True, help="Ask for no confirmation.")
@click.option("--colour", "--color", "colour", envvar="PVC_COLOUR", is_flag=True, help="Colours, even in a pipe.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show it, end.")
@click.pass_obj
def cli(app: App, connection: str | None, debug: bool, quiet: bool, silent: bool, unsafe: bool, colour: bool) -> None:
    """PVC, a private cloud for small clusters.

    Without --connection it talks to this machine's own cluster ("local"). Every global option stands before the
    command and can be given as an environment variable: PVC_CONNECTION, PVC_DEBUG, PVC_QUIET and so on.
    """
    app.configure(
        connection=connection, debug=debug, quiet=quiet, silent=silent, unsafe=unsafe, colour=True if colour else None
    )


def run(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name); its exit code. Raises nothing, unless --debug asks for it."""
    app = App(os.environ)
    try:
        code = cli.main(args=list(argv), prog_name="pvc", standalone_mode=False, obj=app)
        sys.stdout.flush()
        return code if isinstance(code, int) else ExitCode.DONE
    except BrokenPipeError:
        # The reader (head, a pager) has left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except click.UsageError as error:
        if not app.out.quiet:
            error.show()
            hint_at_place(error)
        return exit_code_of(error)
    except (click.Abort, KeyboardInterrupt) as error:
        app.out.note("Stopped.")
        return exit_code_of(error)
    except (CliError, click.ClickException, OSError) as error:
        app.out.fail(error)
        return exit_code_of(error)
    except Exception as error:  # a bug: no traceback reaches an operator who did not ask for it
        app.out.fail(unforeseen(error))
        if app.debug:
            raise
        return ExitCode.NO_ANSWER
    finally:
        app.say_maintenance()
        app.close()


def hint_at_place(error: click.UsageError) -> None:
    """An option of the program that was given after the command."""
    option = error.option_name if isinstance(error, click.NoSuchOption) else ""
    known = {name for one in cli.params for name in one.opts}
    if option in known and error.ctx is not None and error.ctx.command is not cli:
        command = error.ctx.command_path.removeprefix("pvc ")
        click.echo(f"Help:  {option} stands before the command: pvc {option} ... {command}", err=True)


def unforeseen(error: Exception) -> CliError:
    """A fault of ours, or an answer of a shape the API never promised."""
    if isinstance(error, KeyError):
        return CliError(
            f"the API's answer lacks {error}",
            help="this is a fault, or the cluster's PVC is of another version; pvc --debug shows what it answered",
        )
    return CliError(
        f"pvc itself failed: {type(error).__name__}: {error}",
        help="this is a fault; pvc --debug shows where, and what the API answered",
    )


def main() -> None:
    sys.exit(run(sys.argv[1:]))
