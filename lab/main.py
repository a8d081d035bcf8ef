"""The command `script/lab`: what a person or a test may do with a lab. Each command is one function here; the work is
in the other modules.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import LabError, bmcs, control, guests, network, node, show, up
from lab.state import DEFAULT_NAME, Lab, Plan, all_labs, the_only_lab

MOST_NODES = 20
VERBATIM = ("pvc", "exec")  # everything from their first argument on is passed through as it is
Rewire = Callable[[Lab, str, Sequence[network.Network]], None]


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    try:
        return run(sys.argv[1:])
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except BrokenPipeError:  # `script/lab status | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
    return 1


def run(argv: Sequence[str]) -> int:
    """Do what the command line says and return the exit code. Raises LabError."""
    name, rest, verbatim = split_name(argv)
    asked = _parser().parse_args(rest)
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes network namespaces and runs libvirt; use sudo")
    asked.verbatim = verbatim
    result: int = asked.do(asked, name)
    sys.stdout.flush()
    return result


def split_name(argv: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """Return (the value of --name or None, the other words, the words to pass on verbatim).

    --name may stand anywhere before the first argument of `pvc` and `exec`; the rest is theirs. Raises LabError.
    """
    name: str | None = None
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--name" and not rest:
            raise LabError("--name needs the name of a lab after it")
        if word == "--name":
            name = rest.pop(0)
        elif word.startswith("--name="):
            name = word.removeprefix("--name=")
        elif words and words[0] in VERBATIM:
            return name, words, [word, *rest]
        else:
            words.append(word)
    return name, words, []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/lab",
        description="A whole PVC cluster on this machine, in namespaces of its own.",
        epilog="--name NAME may stand anywhere; without it the only lab is meant. docs/lab.md tells more.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do: object, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(do=do)
        return made

    made = command("up", _up, f"make a lab (called {DEFAULT_NAME} without --name) and return when it is ready")
    how_many = "how many: hv1, hv2...; of three or more the first three are coordinators"
    made.add_argument("--nodes", type=int, default=1, metavar="N", help=how_many)
    made.add_argument("--store", choices=["embedded", "zookeeper"], default=None)
    made.add_argument("--storage", choices=["dir", "ceph"], default="dir")
    made.add_argument(
        "--plugin", action="append", default=[], metavar="PATH", help="install and load this plugin package too"
    )
    made.add_argument("--fresh", action="store_true", help="bare machines, for a cluster you install yourself")
    made.add_argument(
        "--keep", action="store_true", help="leave everything in place when it does not come up, to look at it"
    )
    command("down", _down, "remove the lab and everything of it")
    command("status", _status, "which labs there are, and what runs in them")
    made = command("logs", _logs, "the logs of a node's daemons")
    made.add_argument("node")
    made.add_argument("unit", nargs="?", help="only this daemon's")
    made.add_argument("-n", "--lines", type=int, default=50)
    made.add_argument("-f", "--follow", action="store_true")
    command("env", _env, "print export lines: PVC_API_URL, PVC_API_KEY")
    command("pvc", _pvc, "the CLI against this lab: pvc ARGS...")
    command("exec", _exec, "run a command inside a node: exec NODE CMD... (a shell without CMD)")
    made = command(
        "guest", _guest, "a small real guest, defined and started through the API; its console counts seconds"
    )
    made.add_argument("guest")
    made.add_argument("--node", help="define it for this node")
    made.add_argument("--network", help="put its NIC on this VNI instead of the upstream bridge")
    made.add_argument("--pool", default="vms")
    made = command("power", _power, "switch a node on, or off: everything in it dies at once")
    made.add_argument("switch", choices=["on", "off"])
    made.add_argument("node")
    made = command("shutdown", _shutdown, "shut a node down as its administrator would, and switch it off")
    made.add_argument("node")
    made = command("bmc", _bmc, "what is wrong with a node's BMC")
    made.add_argument("node")
    made.add_argument("fault", choices=bmcs.FAULTS)
    made.add_argument("other", nargs="?", default="", help="with wrong: the node whose BMC answers instead")
    made = command("kill", _kill, "kill -9 one daemon of a node; its init starts it again")
    made.add_argument("node")
    made.add_argument("process")
    made.add_argument("--signal", default="KILL", help="another signal: STOP, CONT, TERM...")
    made = command("unit", _unit, "stop or start one daemon of a node")
    made.add_argument("what", choices=["start", "stop"])
    made.add_argument("node")
    made.add_argument("unit")
    for word, do, help in (("cut", _cut, "part a node from the others"), ("heal", _heal, "join it to them again")):
        made = command(word, do, help)
        made.add_argument("node")
        made.add_argument("--net", metavar="NETWORK", help="only on this one: upstream, cluster or storage")
    return parser


def _lab(name: str | None) -> Lab:
    lab = Lab(name) if name else the_only_lab()
    lab.plan()
    return lab


def _up(asked: argparse.Namespace, name: str | None) -> int:
    if not 1 <= asked.nodes <= MOST_NODES:
        raise LabError(f"{asked.nodes} nodes are not possible; a lab has 1 to {MOST_NODES}")
    store = asked.store or ("embedded" if asked.nodes == 1 else "zookeeper")
    if store == "embedded" and asked.nodes > 1:
        raise LabError("the embedded store serves one node only; leave --store out, or say --store zookeeper")
    plan = Plan(
        name=name or DEFAULT_NAME,
        nodes=[f"hv{number}" for number in range(1, asked.nodes + 1)],
        store=store,
        storage=asked.storage,
        plugins=asked.plugin,
        fresh=asked.fresh,
    )
    started = time.monotonic()
    plan = up.bring_up(Lab(plan.name), plan, _say, keep=asked.keep)
    print(f"lab {plan.name} is ready after {time.monotonic() - started:.1f} s: {up.api_url(plan)}")
    return 0


def _down(asked: argparse.Namespace, name: str | None) -> int:
    lab = Lab(name) if name else the_only_lab()
    up.take_down(lab)
    print(f"lab {lab.name} is gone")
    return 0


def _status(asked: argparse.Namespace, name: str | None) -> int:
    names = [name] if name else all_labs()
    if not names:
        print("no lab; script/lab up makes one")
    for lab in map(Lab, names):
        print("\n".join(show.status(lab)))
    return 0


def _logs(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    place = lab.node_dir(lab.checked_node(asked.node)) / "var/log/pvc"
    files = sorted(place.glob(f"{(asked.unit or '').removesuffix('.service')}*"))
    if not files:
        raise LabError(
            f"{asked.node} has no log of {asked.unit}; it has {', '.join(sorted(p.name for p in place.iterdir()))}"
        )
    argv = ["tail", f"--lines={asked.lines}", *(["--follow=name"] if asked.follow else []), *map(str, files)]
    return subprocess.run(argv, check=False).returncode


def _env(asked: argparse.Namespace, name: str | None) -> int:
    api = up.api_of(_lab(name))
    print(f"export PVC_API_URL={api.url}\nexport PVC_API_KEY={api.key}")
    return 0


def _pvc(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    up.api_of(lab)
    program = str(Path(sys.prefix) / "bin/pvc")
    env = {**os.environ, "PVC_CLIENT_DIR": str(lab.root / "cli"), "PVC_CONNECTION": lab.name}
    return subprocess.run([program, *asked.verbatim], env=env, check=False).returncode


def _exec(asked: argparse.Namespace, name: str | None) -> int:
    if not asked.verbatim:
        raise LabError("exec needs a node: script/lab exec hv1 virsh list")
    where, *argv = asked.verbatim
    lab = _lab(name)
    init = lab.needs(lab.checked_node(where))
    return node.enter(init, argv or ["bash"], interactive=True).returncode


def _guest(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    wish = guests.Wish(name=asked.guest, node=asked.node or "", network=asked.network or "", pool=asked.pool)
    console = guests.make_guest(up.api_of(lab), wish, say=_say)
    print(console.strip().splitlines()[-1])
    print(f"guest {asked.guest} runs; script/lab pvc --name {lab.name} vm log {asked.guest} shows its console")
    return 0


def _power(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    plan = lab.plan()
    where = lab.checked_node(asked.node)
    with lab.locked():
        if asked.switch == "on":
            node.switch_on(lab, plan, where)
        else:
            node.switch_off(lab, where)
    print(f"{where} is {asked.switch}")
    return 0


def _shutdown(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    where = lab.checked_node(asked.node)
    control.ask(lab.needs(where), "shutdown")
    with lab.locked():
        node.switch_off(lab, where)
    print(f"{where} is shut down and off; script/lab power on {where} boots it again")
    return 0


def _bmc(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    where, other = lab.checked_node(asked.node), lab.checked_node(asked.other) if asked.other else ""
    with lab.locked():
        bmcs.set_fault(lab, lab.plan(), where, asked.fault, other)
    print(f"the BMC of {where} is {asked.fault}{f': {other} answers' if other else ''}")
    return 0


def _kill(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    number = f"SIG{asked.signal.upper().removeprefix('SIG')}"
    init = lab.needs(lab.checked_node(asked.node))
    pid = control.ask(init, "kill", unit=asked.process, signal=number)
    print(f"{number} sent to {asked.process} of {asked.node} (its process {pid})")
    return 0


def _unit(asked: argparse.Namespace, name: str | None) -> int:
    lab = _lab(name)
    control.ask(lab.needs(lab.checked_node(asked.node)), asked.what, unit=asked.unit)
    return 0


def _cut(asked: argparse.Namespace, name: str | None) -> int:
    return _rewire(asked, name, node.cut, "cut off from")


def _heal(asked: argparse.Namespace, name: str | None) -> int:
    return _rewire(asked, name, node.heal, "joined to")


def _rewire(asked: argparse.Namespace, name: str | None, do: Rewire, what: str) -> int:
    lab = _lab(name)
    where, networks = lab.checked_node(asked.node), network.named(asked.net)
    with lab.locked():
        do(lab, where, networks)
    print(f"{where} is {what} {', '.join(item.name for item in networks)}")
    return 0


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
