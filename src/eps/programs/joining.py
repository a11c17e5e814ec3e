"""The commands ``eps operator …`` and ``eps cert …``: how an operator joins, and what it does with its certificates."""

from pathlib import Path
from typing import Annotated

import typer

from eps.programs.cli import Json, add_group, guarded
from eps.programs.running.runtime import run

Folder = Annotated[Path, typer.Option(metavar="DIR", help="Where to write.", show_default=True)]
Groups = Annotated[
    list[str],
    typer.Option("--group", metavar="GROUP", help="To be a member of, and to be called by; may be repeated."),
]


def add_joining_commands(app: typer.Typer) -> None:
    """Give the program ``eps`` the groups ``operator`` and ``cert``."""
    _add_operator_commands(app)
    _add_cert_commands(app)


def _add_operator_commands(app: typer.Typer) -> None:
    group = add_group(app, "operator", "Join a network: settings, requests, records.")

    @group.command("init", short_help="Write settings, keys and requests for a new operator.")
    def init(
        name: Annotated[
            str, typer.Argument(metavar="NAME", help="The operator's name, as the directory is to have it.")
        ],
        directory: Annotated[str, typer.Option(metavar="URL", help="Of the service directory's JSON-RPC server.")],
        directory_name: Annotated[
            str, typer.Option(metavar="NAME", help="The name in its certificate, if it isn't the URL's host.")
        ] = "",
        folder: Folder = Path(),
        service: Annotated[str, typer.Option(metavar="URL", help="Of our own service, if we offer one.")] = "",
        application: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME", help="In the certificate of an application of ours; may be repeated."),
        ] = None,
        signing: Annotated[
            bool, typer.Option("--signing", help="Also a key to sign with: for administrators.")
        ] = False,
    ) -> None:
        """Write eps.yml, a key and a request for a certificate, and say what to do with them.

        Nothing that exists is overwritten.
        """
        from eps.programs.admin import operators
        from eps.programs.admin.own_settings import Plan

        plan = Plan(
            name, directory, directory_name, service=service, applications=tuple(application or ()), signing=signing
        )
        guarded(lambda: print(operators.init(plan, folder)))

    @group.command("records", short_help="Print our entry of the directory, to hand to its administrator.")
    def records(
        group: Groups,
        proxy: Annotated[
            str, typer.Option(metavar="OPERATOR", help="The proxy's, through which others reach us.")
        ] = "",
        address: Annotated[str, typer.Option(metavar="HOST:PORT", help="At which others dial us.")] = "",
        method: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="A method that we offer; may be repeated.")
        ] = None,
    ) -> None:
        """Print change records with our certificates' fingerprints, groups, channels and services.

        Without --proxy and --address we are called on streams that our server holds.
        """
        from eps.programs.admin import operators

        guarded(lambda: print(operators.records(tuple(group), proxy, address, tuple(method or ())), end=""))


def _add_cert_commands(app: typer.Typer) -> None:
    group = add_group(app, "cert", "Our certificates: request, look at, renew.")

    @group.command("request", short_help="Make a key, and a request for a certificate.")
    def request(
        name: Annotated[str, typer.Argument(metavar="NAME", help="The operator's name.")],
        dns: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="Another DNS name in it; may be repeated.")
        ] = None,
        signing: Annotated[bool, typer.Option("--signing", help="To sign change records with.")] = False,
        group: Annotated[
            list[str] | None,
            typer.Option(metavar="GROUP", help="With --signing: for example sd-admin; may be repeated."),
        ] = None,
        folder: Folder = Path(),
    ) -> None:
        """Make NAME.key, which stays here, and NAME.csr, which the network's authority signs.

        With --signing they are called NAME-sign.
        """
        from eps.programs.admin import own_certificates as certs

        wanted = certs.Request(name, signing, tuple((group if signing else dns) or ()))

        def work() -> None:
            key, request = certs.make_request(wanted, folder)
            print(f"wrote {key}, which stays here, and {request}, which the network's authority signs")

        guarded(work)

    @group.command("fingerprint", short_help="Print what the directory pins a certificate by.")
    def fingerprint(
        files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Certificates.")],
    ) -> None:
        """Print the SHA-256 of a certificate: 64 lower-case hex digits, as the directory has it."""
        from eps.programs.admin import own_certificates as certs

        guarded(lambda: print("\n".join(certs.fingerprints(files))))

    @group.command("inspect", short_help="Say what is in a certificate, and whether its key fits.")
    def inspect(
        files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Certificates, or requests.")],
        as_json: Json = False,
    ) -> None:
        """Say whose a certificate is, what for, until when; exit code 1 if it can't be used."""
        from eps.programs.admin import operators

        guarded(lambda: operators.inspect(files, as_json=as_json))

    @group.command("renew", short_help="Renew a certificate, step by step, without a moment of downtime.")
    def renew(
        certificate: Annotated[str, typer.Option(metavar="FILE", help="Which one, if the settings name several.")] = "",
        signing: Annotated[bool, typer.Option("--signing", help="The one that we sign with.")] = False,
    ) -> None:
        """Do the next step, and say what comes then: run it again and again until it says that all is done.

        A new key and a request; records that pin both certificates; the new files in the place of the old; records
        that pin the new one only.
        """
        from eps.programs.admin import renewal

        guarded(lambda: run(renewal.renew(certificate, signing=signing)))
