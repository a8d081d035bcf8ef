"""`pvc vm console|vnc`: sit at a VM's serial console, look at its screen."""

from __future__ import annotations

import click

from pvc_cli.app import App
from pvc_cli.commands.vm_common import domain_argument
from pvc_cli.options import Number

look_option = click.option("--look", is_flag=True, help="Look only: nothing that is typed reaches the guest.")


@click.command()
@domain_argument
@click.option("-l", "--lines", type=Number(min=0), default=10, show_default=True, help="What was said before.")
@look_option
@click.pass_obj
def console(app: App, domain: str, lines: int, look: bool) -> None:
    """Sit at a VM's serial console; Ctrl-] leaves it.

    Keys go to the guest as they are, Ctrl-C too. It follows the VM to the node it migrates to. Without a terminal,
    what comes on standard input is typed; it ends when that has ended and the guest is silent for 2 s, or 10 s later.
    """
    from pvc_cli.sockets import open_channel
    from pvc_cli.terminal import attend

    attend(app, lambda count: open_channel(app.api, domain, "console", look=look, lines=count), domain, lines=lines)


@click.command()
@domain_argument
@click.option("-b", "--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("-p", "--port", type=Number(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--viewer/--no-viewer", default=True, help="Start a viewer, when there is a desktop and one.  [--viewer]")
@click.option("--once", is_flag=True, help="End when the first viewer does.")
@look_option
@click.pass_obj
def vnc(app: App, domain: str, bind: str, port: int, viewer: bool, once: bool, look: bool) -> None:
    """Open a local port that leads to a VM's screen (VNC), and a viewer if there is one; Ctrl-C ends it.

    Whoever reaches the port sees the screen. PVC_VNC_VIEWER names a viewer of your own.
    """
    from pvc_cli.screens import listen, serve, viewer_command
    from pvc_cli.sockets import open_channel

    open_channel(app.api, domain, "vnc", look=look).close()  # what is wrong is said now, not in a viewer
    with listen(bind, port) as listening:
        host, at = listening.getsockname()[:2]
        app.out.say(f"The screen of {domain} is at {host}:{at}.")
        app.out.note("Ctrl-C ends it.")
        command = viewer_command(app.environ, host, at) if viewer else None
        serve(app, lambda: open_channel(app.api, domain, "vnc", look=look), listening, once=once, viewer=command)
    app.out.note(f"The screen of {domain} is closed.")
