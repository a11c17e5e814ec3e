"""The ``eps`` program: the EPS server, and the administrator's commands."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eps.programs.auditing import add_audit_commands
from eps.programs.changing import Foreign, add_directory_commands
from eps.programs.cli import (
    All,
    DryRun,
    Json,
    Strict,
    TakeOver,
    Wait,
    WaitForDirectory,
    add_group,
    guarded,
    make_app,
    options_of,
    run_as,
)
from eps.programs.dev.stores import Store
from eps.programs.joining import add_joining_commands
from eps.programs.running.runtime import run, run_server
from eps.programs.shared import add_shared_commands
from eps.programs.stores import add_store_commands

app = make_app(
    "eps",
    "Endpoint server: calls other operators' services, and lets them call ours.",
    example="settings/dev/roles/hd-1",
)

server = add_group(app, "server", "The EPS server.")
sd = add_group(app, "sd", "The service directory: submit, look up, sign, verify.")
add_directory_commands(app)
client = add_group(app, "client", "For applications that call.")
dev = add_group(app, "dev", "The development network.")

MAX_PINGS = 1_000
"""Of one command, one after the other: some seconds, and a load that nobody notices."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="A file with a JSON object.")]


@server.command("run", short_help="Run the EPS server.")
def server_run(context: typer.Context, take_over: TakeOver = False) -> None:
    """Run the EPS server until Ctrl-C or SIGTERM: open every configured channel."""
    run_as("eps", context, take_over=take_over)


@server.command("drain", short_help="Tell the running EPS server to end.")
def server_drain(wait: Wait = False, as_json: Json = False) -> None:
    """Tell the running EPS server to end as on SIGTERM: it takes no new calls, and those that run are answered.

    What has not ended within drain_timeout is cut. The server that runs with these settings' state folder is meant.
    With --wait, exit code 1 says that something was cut.
    """
    from eps.programs.admin import drain

    guarded(lambda: drain.drain_server(wait=wait, as_json=as_json))


@sd.command("submit-records", short_help="Sign change records and submit them.")
def submit_records(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help='Files with {"records": [...]}, in order, or folders of *.json files.'),
    ],
    reset: Annotated[
        bool,
        typer.Option(
            "--reset", help="Start the directory anew: these records replace everything (asks first at a terminal)."
        ),
    ] = False,
    wait: WaitForDirectory = 0.0,
    as_json: Json = False,
    dry_run: DryRun = False,
    strict: Strict = False,
    foreign: Foreign = None,
) -> None:
    """Sign change records with our signing key and submit them as one batch: all of them, or none.

    What they change is shown first. What is surely wrong is refused; what is doubtful is asked at a terminal, and
    warned of without one.
    """
    from eps.programs.admin import commands as admin

    how = admin.Submission(reset, wait, as_json, strict, dry_run, foreign=foreign or ())
    guarded(lambda: admin.submit(files, how))


@sd.command("get-entries")
def get_entries(
    name: Annotated[str, typer.Option(metavar="OPERATOR", help="Only the entry of this one.")] = "",
    whole: All = False,
) -> None:
    """Print the directory's entries as JSON, as far as its records verify."""
    from eps.programs.admin import commands as admin

    guarded(lambda: run(admin.get_entries(name, whole=whole)))


@sd.command("trust-root", short_help="Accept a new root of the directory by hand.")
def trust_root(
    record_hash: Annotated[str, typer.Argument(metavar="HASH", help="The root's hash, from the server's log line.")],
    signer: Annotated[
        str,
        typer.Option(
            metavar="FINGERPRINT", help="The certificate that must have signed it (SHA-256); the SD isn't asked then."
        ),
    ] = "",
) -> None:
    """Accept a new root that the present directory does not vouch for, after its administrators lost their key.

    Our server, running or not, follows it from then on, as long as it is newer than the present one. Ask the
    administrators for hash and certificate first, on another way than through the service directory.
    """
    from eps.programs.admin import commands as admin

    guarded(lambda: run(admin.trust_root(record_hash, signer)))


@sd.command("sign", short_help="Sign a JSON object.")
def sign(file: File) -> None:
    """Print the JSON object in FILE with a signature made with our signing key."""
    from eps.programs.admin import commands as admin

    guarded(lambda: admin.sign(file))


@sd.command("verify", short_help="Check who signed a JSON object.")
def verify(file: File, name: Annotated[str, typer.Argument(metavar="NAME", help="Who must have signed.")]) -> None:
    """Check a signed JSON object: exit code 0 if NAME has signed what is in FILE, 1 if not."""
    from eps.programs.admin import commands as admin

    guarded(lambda: admin.verify(file, name))


@dev.command("certs", short_help="Make the certificates anew, and start afresh.")
def dev_certs() -> None:
    """Make the development network's certificates anew, and start its state afresh.

    Run it in the repository's root, or in an empty folder, which is given the network's settings.
    """
    from eps.programs.dev.certs import make_dev_certs
    from eps.programs.dev.tree import ensure_tree

    def work() -> None:
        ensure_tree(Path.cwd(), print)
        make_dev_certs(Path.cwd(), print)

    guarded(work)


@dev.command("add-operator", short_help="Have another operator join the network.")
def dev_add_operator(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The operator's name, for example clinic-9.")],
    methods: Annotated[
        list[str] | None, typer.Option("--method", metavar="NAME", help="A method that it offers; may be repeated.")
    ] = None,
) -> None:
    """Make certificates, settings and records for a new operator, with ports of its own, and say what to type next."""
    from eps.programs.dev import operators

    guarded(lambda: print(operators.next_steps(operators.add_operator(Path.cwd(), name, tuple(methods or ())))))


@dev.command("sign", short_help="Sign requests for certificates.")
def dev_sign(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Requests: NAME.csr; NAME.crt is written.")],
) -> None:
    """Be the development network's authority: sign requests, with the names that they ask for, whoever asks."""
    from eps.programs.dev import operators

    guarded(lambda: operators.sign_requests(Path.cwd(), files, print))


@dev.command("internal-server", short_help="Run a small HTTPS server, to be reached through the proxies.")
def dev_internal_server(
    context: typer.Context,
    bind_address: Annotated[
        str, typer.Option(envvar="IS_BIND_ADDRESS", help="Where to listen.", show_default=True)
    ] = "localhost:7777",
    tls: Annotated[
        bool, typer.Option("--tls/--no-tls", envvar="USE_TLS", help="HTTPS, or plain HTTP.", show_default=True)
    ] = True,
) -> None:
    """Run a small HTTPS server that stands for one in an internal network, to see TLS passthrough with."""
    from eps.programs.dev.internal_server import InternalServer

    guarded(
        lambda: run_server(
            "INT", options_of(context), lambda emit, _: InternalServer(Path.cwd(), bind_address, emit, tls=tls)
        )
    )


@app.command("mock", short_help="Run a Python service in a network of this process, to call it.")
def mock(
    file: Annotated[Path, typer.Argument(metavar="SERVICE.PY", help="A file that makes one eps.service.Service.")],
    operator: Annotated[
        str, typer.Option(metavar="NAME", help="The operator that offers it.", show_default=True)
    ] = "hd-2",
    caller: Annotated[
        str, typer.Option(metavar="NAME", help="The operator whose applications call it.", show_default=True)
    ] = "hd-1",
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="The caller is in it, and only its members may call; may be repeated."),
    ] = None,
    port: Annotated[int, typer.Option(metavar="PORT", help="For the caller; 0: a free one.", min=0, max=65535)] = 0,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web pages from there may call; may be repeated."),
    ] = None,
) -> None:
    """Serve the methods of SERVICE.PY in a network of this process, without certificates, and say where to call them.

    Permissions, errors and limits are the real network's; the same file runs behind a real EPS server.
    """
    from eps.programs.dev.mock import mock as serve
    from eps.testing.node import Entrance

    entrance = Entrance(port, tuple(origin or ()))
    guarded(lambda: serve(file, operator, caller, group or (), entrance, typer.echo))


@app.command("call", short_help="Call a method of any operator, through our running server.")
def call(
    method: Annotated[str, typer.Argument(metavar="OPERATOR.METHOD", help="For example hd-2._ping.")],
    params: Annotated[
        str, typer.Argument(metavar="JSON", help="The params, a JSON object; - reads them from stdin.")
    ] = "{}",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=0.1)] = 60.0,
    whole: All = False,
) -> None:
    """Call a method through our own running EPS server and print its result as JSON.

    The server is found through its settings, and its certificate is ours. A failure is told on standard error: what,
    at which stage, on whose side, whether the call was executed, and what to try.
    """
    from eps.programs.admin import commands as admin

    text = sys.stdin.read() if params == "-" else params
    guarded(lambda: run(admin.call(method, text, timeout, whole=whole)))


@app.command("ping", short_help="Say whether an operator is reached, which way, and how fast.")
def ping(
    peer: Annotated[str, typer.Argument(metavar="PEER", help="An operator, for example hd-2.")],
    times: Annotated[
        int, typer.Option("-n", metavar="N", help="How often.", min=1, max=MAX_PINGS, show_default=True)
    ] = 5,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.1)] = 15.0,
    as_json: Json = False,
) -> None:
    """Ping PEER through our own running server, and print three lines: path, version, times. Ends at a failure.

    The first call opens the connection, so it takes longest.
    """
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.with_settings(partial(looking.ping, peer, times, timeout, as_json)))


@app.command("explain", short_help="Say why a call is allowed or not, and which way it would go.")
def explain(
    caller: Annotated[str, typer.Argument(metavar="CALLER", help="Who calls.")],
    callee: Annotated[str, typer.Argument(metavar="CALLEE", help="Who is called.")],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="For example _ping.")],
    as_json: Json = False,
) -> None:
    """Say why CALLER may call METHOD of CALLEE or not: service, permission, records and their signers, and the way.

    It looks into our server's verified copy of the directory, whether that server runs or not. Exit code: 0 allowed,
    1 not allowed, 2 no such operator, or wrong settings.
    """
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.with_settings(partial(looking.explain, caller, callee, method, as_json)))


@app.command("methods", short_help="List what we may call.")
def methods(
    operator: Annotated[str, typer.Argument(metavar="[OPERATOR]", help="Whose methods; default: everybody's.")] = "",
    as_json: Json = False,
    whole: All = False,
) -> None:
    """List the methods that we may call, of OPERATOR or of all others: service, params, and who was granted it."""
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.with_settings(partial(looking.methods, operator, as_json, whole)))


@client.command("generate", short_help="Print a typed Python client of an operator.")
def client_generate(
    operator: Annotated[str, typer.Argument(metavar="OPERATOR", help="Whose methods, for example hd-2.")],
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Ask the EPS server there; default: that of our settings.")
    ] = "",
    is_async: Annotated[bool, typer.Option("--async", help="For AsyncClient.")] = False,
) -> None:
    """Print a Python module with a class for OPERATOR: a method for each that we may call, with types.

    Our running server asks OPERATOR's, which asks its application; what it doesn't describe has no types. Redirect it
    into a file: eps client generate hd-2 > hd_2.py
    """
    from eps.programs.diagnosis.generating import generate

    guarded(lambda: generate(operator, url, is_async=is_async))


@app.command("doctor", short_help="Look at everything and say what is wrong, whose it is, and what to do.")
def doctor(
    peer: Annotated[
        str, typer.Argument(metavar="[PEER]", help="Look at the whole way to this operator, too, and time it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Look at settings, keys, clock, certificates, our server, service directory, our pin, proxies, relays, streams.

    With PEER also at the whole way there, step by step. It changes nothing, takes 15 s at the most, and works while our
    server or the service directory is down. Exit code: 0 all is well, 1 something is wrong, 2 wrong settings, or no
    such operator.
    """
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.doctor(peer, as_json))


@app.command("trace", short_help="Show what servers saw of a call, as a timeline.")
def trace(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID|FILE...]", help="32 hex digits, or exports of several servers; default: the last calls."
        ),
    ] = None,
    as_json: Json = False,
    whole: All = False,
) -> None:
    """Show what our running server saw of the call with trace ID: its steps and their times.

    The id is that of the traceparent that your application sent along, else one that our server made: it is in the log,
    and in the list of the last calls. With --json it is an export that others can use: several of them in files, also
    a proxy's (proxy trace ID --json), make one timeline.
    """
    from eps.programs.diagnosis import commands as looking

    guarded(lambda: looking.trace(what or [], as_json, whole))


@app.command("demo", short_help="Show on this machine how hd-1 pings hd-2 through the proxy.")
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the ping rather than at Ctrl-C.")] = False,
    store: Annotated[Store, typer.Option(help="Where the programs keep what they keep.")] = Store.SQLITE,
    scale: Annotated[bool, typer.Option("--scale", help="Several of everything, on a Redis of its own.")] = False,
) -> None:
    """Start the development network on this machine and show, step by step, how hd-1 pings hd-2 through the proxy."""
    from eps.programs.dev import demo as show

    guarded(lambda: run(show.show(Path.cwd(), once=once, store=store, scale=scale)))


add_store_commands(app, "eps")
add_joining_commands(app)
add_audit_commands(app)
add_shared_commands(app, "eps")


def main() -> None:
    """The console script."""
    app(prog_name="eps")


if __name__ == "__main__":
    main()
