"""The commands ``eps audit …``: evidence of calls, for their two sides and whoever judges between them."""

from pathlib import Path
from typing import Annotated

import typer

from eps.programs.cli import Json, add_group, guarded

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE...]", help="The log's files, oldest first; default: the one that settings name."),
]


def add_audit_commands(app: typer.Typer) -> None:
    """Give the program ``eps`` the group ``audit``."""
    group = add_group(app, "audit", "The audit log: evidence of who asked whom for what.")

    @group.command("key", short_help="Make the secret and the key of an audit log.")
    def key(
        folder: Annotated[
            Path, typer.Option("--folder", metavar="DIR", help="Where to write.", show_default=True)
        ] = Path("."),
    ) -> None:
        """Make audit.secret, audit.key and audit-key.json, which is to be signed with eps sd sign, and say what to do.

        Our operator's name is taken from the settings, which need not have the section audit yet.
        """
        from eps.programs.admin import audit

        guarded(lambda: audit.make_key(folder))

    @group.command("verify", short_help="Check that an audit log is whole.")
    def verify(
        files: Files = None,
        heads: Annotated[
            list[Path] | None,
            typer.Option(
                "--head", metavar="FILE", help="A head that was handed out (eps audit head); may be repeated."
            ),
        ] = None,
        certified: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Of another operator's log: what its administrator signed for its key."),
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Check that no line was altered, taken out or moved, and say how far signed heads reach.

        Exit code: 0 it is whole, 1 it is not, or can't be checked. A last line that is torn, as a crash leaves it, is
        told, and is no fault. That lines at the end were taken away shows only where a later head was handed out.
        """
        from eps.programs.admin import audit

        guarded(lambda: audit.verify(files or [], heads or [], certified, as_json=as_json))

    @group.command("head", short_help="Print the last signed head, to be handed out.")
    def head(files: Files = None) -> None:
        """Print the last signed head as JSON. Whoever has it can tell later whether the log was changed."""
        from eps.programs.admin import audit

        guarded(lambda: audit.show_head(files or []))

    @group.command("reveal", short_help="Print what shows somebody one call.")
    def reveal(
        line: Annotated[int, typer.Argument(metavar="LINE", help="The number of the call's line.", min=1)],
        files: Files = None,
    ) -> None:
        """Print one call's line, its key, and how it leads to a signed head, as JSON, for eps audit check.

        Whoever has it can check this call's params and answer, if he has them, and learns nothing of other calls.
        """
        from eps.programs.admin import audit

        guarded(lambda: audit.reveal(line, files or []))

    @group.command("check", short_help="Check a revealed call against params and answer.")
    def check(
        evidence: Annotated[Path, typer.Argument(metavar="EVIDENCE", help="What eps audit reveal printed.")],
        params: Annotated[Path | None, typer.Option(metavar="FILE", help="The params, as JSON.")] = None,
        result: Annotated[Path | None, typer.Option(metavar="FILE", help="The result.")] = None,
        error: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The error that was answered: code, message, data.")
        ] = None,
    ) -> None:
        """Check whose log a revealed line is from, and whether params and answer are those of the call.

        Exit code: 0 all that was given is so, 1 it is not, or the evidence can't be believed.
        """
        from eps.programs.admin import audit

        guarded(lambda: audit.check(evidence, audit.Asked(params, result, error)))
