"""Fill in the tables and limits of docs/*.md from the code: python docs/generate.py [--check]

Everything about settings is taken from the code: types, defaults, examples, and what they mean from the texts under the
fields; a setting without such a text is an error. Of limits the code has the values, and LIMITS the words. The tables
of attacks and guards come from tests/support/attacks. tests/test_docs.py runs the check.
"""

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from eps.programs.diagnosis.paper import Paper
from eps.programs.running.families import FAMILIES, Kind, Program
from eps.reasons import TABLE as REASONS
from eps.settings import PROGRAMS, eps_server, fields, models, parts, proxies, service_directory
from eps.settings.fields import Model
from support import python_api
from support.attacks.guards import GUARDS
from support.attacks.table import GROUPS
from support.promises import GROUPS as FAULTS
from support.screens import SCREENS, WIDTHS, picture

PAGE = Path(__file__).parent / "reference-settings.md"
PAGES = sorted(Path(__file__).parent.glob("*.md"))

_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LIMIT = re.compile(r"(<!-- limit: ([\w.]+)(?: (\w+))? -->)[^<\n]*(<!-- end -->)")
"""One limit inside a sentence: its constant and its unit."""

_SPANS = {"s": 1, "min": 60, "minutes": 60, "h": 3600, "days": 86_400}
"""Units of time, in seconds."""

_SIZES = {"MiB": 1024**2, "KiB": 1024}

_WORDS = (
    (fields.ExistingFile, "file", "files"),
    (fields.ExistingFiles, "list of files", ""),
    (fields.ExistingPath, "file or folder", ""),
    (fields.StateFile, "file, seen from `state_path`", ""),
    (fields.KeptFile, "file", ""),
    (fields.FolderPath, "folder", ""),
    (fields.BindAddress, "HOST:PORT to listen on", ""),
    (fields.Endpoint, "HOST:PORT", "HOST:PORT"),
    (fields.Url, "URL", "URLs"),
    (fields.Origin, "origin", "origins"),
    (fields.RegularExpression, "regular expression", "regular expressions"),
    (fields.UrlPath, "path in a URL", ""),
    (fields.InstanceName, "letters, digits, `.-_`", "letters, digits, `.-_`"),
    (fields.OperatorName, "name of an operator", "names of operators"),
    (fields.FingerprintText, "SHA-256 of a certificate", "SHA-256 of certificates"),
    (fields.Seconds, "seconds", ""),
    (fields.Date, "date", ""),
    (fields.SecondsOrNone, "seconds", ""),
    (fields.Bytes, "bytes", ""),
    (fields.Count, "number", ""),
    (fields.Flag, "true or false", ""),
    (models.Datastore, "[datastore](#datastores)", ""),
    (models.RateLimits, "list of [rate limits](#rate-limits)", ""),
    (models.Channels, "list of [channels](#channels)", ""),
    (models.DirectorySettings, "[directory](#directory)", ""),
    (str, "text", "texts"),
    (int, "number", "numbers"),
)
"""Kinds of values, in the singular and, where they occur in lists, in the plural."""

_ANCHORS = {
    "MutualTlsSettings": "[TLS](#tls)",
    "ServerTlsSettings": "[TLS](#tls)",
    "TlsSettings": "[TLS](#tls)",
    "AuditSettings": "[audit log](#audit-log)",
    "CorsSettings": "[CORS](#cors)",
    "KeepaliveSettings": "[keepalive](#keepalive)",
    "MetricsSettings": "[metrics](#metrics)",
    "StatusSettings": "[status page](#status-page)",
    "RedisSettings": "[redis](#datastores)",
    "SiblingsSettings": "[siblings](#siblings)",
    "SigningSettings": "[signing](#signing)",
    "JsonRpcClientOptions": "[how to call](#json-rpc-client)",
    "JsonRpcClientSettings": "[JSON-RPC client](#json-rpc-client)",
    "ApplicationSettings": "[JSON-RPC client](#json-rpc-client)",
    "JsonRpcServerSettings": "[JSON-RPC server](#json-rpc-server)",
    "SdJsonRpcServerSettings": "[JSON-RPC server](#json-rpc-server)",
    "SdDirectorySettings": "[records](#records)",
    "PublicProxySettings": "[public proxy](#public-proxy)",
    "PrivateProxySettings": "[private proxy](#private-proxy)",
    "InternalEndpointSettings": "[internal endpoint](#internal-endpoint)",
}


def meanings(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class → field → what the text under it says, up to its first empty line, as the tables write it."""
    tree = ast.parse(inspect.getsource(module))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found = {node.name: dict(_texts_under_fields(node)) for node in classes}
    return {name: texts for name, texts in found.items() if texts}


def _texts_under_fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(node.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, _in_table(inspect.cleandoc(words).partition("\n\n")[0])


def _in_table(sentence: str) -> str:
    """A text of several lines as one, in the middle of a sentence: «URLs» stays, «The name.» becomes «the name»."""
    text = " ".join(sentence.split()).removesuffix(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


MEANINGS = {
    name: texts
    for module in (eps_server, parts, proxies, service_directory)
    for name, texts in meanings(module).items()
}
"""What each setting means, by model and field."""


LIMITS: tuple[tuple[str, str, str, str], ...] = (
    # what is limited; what happens beyond; the constant; its unit
    (
        "a JSON-RPC request or answer, and with it a call's params or result",
        "code 400",
        "core.limits.MAX_MESSAGE_BYTES",
        "B",
    ),
    (
        "a gRPC message between operators",
        "code 400, or the peer is refused",
        "core.limits.MAX_MESSAGE_BYTES",
        "B",
    ),
    ("length of `method` in JSON-RPC", "code -32600", "core.jsonrpc_text.MAX_METHOD_BYTES", "B"),
    ("length of a JSON-RPC id", "code -32600", "core.jsonrpc_text.MAX_ID_BYTES", "B"),
    ("integers, both signs", "code -32600, with the path", "core.limits.MAX_EXACT_INTEGER", ""),
    (
        "objects and lists inside each other in `params` or `result`",
        "code -32600, with the place; in a result: code 500, executed",
        "core.limits.MAX_NESTING",
        "",
    ),
    ("length of a whole address `OPERATOR.METHOD(ID)`", "code 1", "core.address.MAX_ID_CHARS", "characters"),
    ("time to dial an operator, and for its TLS handshake", "not sent", "channels.grpc_client.CONNECT_TIMEOUT", "s"),
    ("time to open a connection, tunnel and all", "not sent", "channels.pool.OPEN_TIMEOUT", "s"),
    ("attempts of a call that was certainly not sent", "not sent", "channels.pool.ATTEMPTS", ""),
    ("calls that wait for answers on one stream", "not sent", "channels.connected.MAX_WAITING", ""),
    ("requests of one stream that are handled at once", "further ones wait", "channels.held_streams.MAX_CALLS", ""),
    (
        "bytes of these requests, and of their answers until they are sent",
        "further requests wait",
        "channels.held_streams.MAX_BYTES_IN_HAND",
        "B",
    ),
    (
        "the same, where many short requests got long answers",
        "code -100",
        "channels.held_streams.MAX_UNREAD_BYTES",
        "B",
    ),
    (
        "calls and streams that a peer may have open on a connection",
        "further ones wait",
        "grpc.http2.MAX_STREAMS",
        "",
    ),
    (
        "gRPC connections with one certificate",
        "the oldest idle one is closed, or else the new one: `connections`",
        "grpc.server.ServerLimits.max_connections",
        "",
    ),
    ("calls and streams with one certificate", "not sent", "grpc.accepted.MAX_PEER_STREAMS", ""),
    (
        "long messages that come in with one certificate at once",
        "further ones wait",
        "grpc.admission.MAX_BUFFERED_BYTES",
        "B",
    ),
    (
        "calls with one certificate that are handled at once; in memory, objects take up to eighteen times their bytes",
        "further ones wait up to 30 s, then RESOURCE_EXHAUSTED",
        "grpc.admission.MAX_HANDLED_BYTES",
        "B",
    ),
    (
        "answers with one certificate that wait to be read",
        "RESOURCE_EXHAUSTED",
        "grpc.accepted.MAX_OUTGOING_BYTES",
        "B",
    ),
    (
        "time for which a peer may take nothing of a message",
        "the call or stream is broken off",
        "grpc.link.WireLimits.stall_timeout",
        "s",
    ),
    (
        "tunnels to a server behind a proxy that are being opened",
        "code 500, stage relay",
        "channels.grpc_server.MAX_TUNNELS_UNDER_WAY",
        "",
    ),
    ("names that others chose, looked up at once", "further ones wait", "transport.dial.MAX_FOREIGN_LOOKUPS", ""),
    ("open connections of one port", "closed on accept: `connections`", "transport.listener.MAX_CONNECTIONS", ""),
    ("time for a TLS handshake on a JSON-RPC port", "closed", "jsonrpc.server.HANDSHAKE_SECONDS", "s"),
    ("an idle connection to a JSON-RPC port", "closed", "jsonrpc.server_connection.KEEP_ALIVE_SECONDS", "s"),
    (
        "time for a request's body, and 1 s more per MiB allowed",
        "code -32600",
        "jsonrpc.request_body.BODY_SECONDS",
        "s",
    ),
    (
        "a service directory's requests of more bytes, which are handled one at a time",
        "others wait up to 60 s, then code -32603",
        "jsonrpc.large_bodies.LARGE",
        "B",
    ),
    ("such requests that wait", "code -32603", "jsonrpc.large_bodies.MAX_WAITING", ""),
    (
        "silence within such a request (while others wait, 10 s and 1 s per MiB for all of it)",
        "code -32600",
        "jsonrpc.request_body.SILENT_SECONDS",
        "s",
    ),
    ("JSON values in such a request, counted before it is parsed", "code 400", "jsonrpc.large_bodies.MAX_VALUES", ""),
    ("JSON values in an answer of a service directory", "not believed", "directory.endpoints.MAX_VALUES", ""),
    ("time to read an answer, and 1 s more per MiB", "cut", "jsonrpc.server.ANSWER_SECONDS", "s"),
    ("calls in flight when a JSON-RPC port closes", "cut after", "jsonrpc.server.GRACE_SECONDS", "s"),
    ("calls in flight when the gRPC server stops", "cut after", "channels.grpc_server.CLOSE_GRACE", "s"),
    ("time to connect to an application or service directory", "not sent", "jsonrpc.client.CONNECT_SECONDS", "s"),
    ("calls that an application gets at once, at most", "code 500, busy", "core.overload.CEILING", ""),
    ("the same, at least", "code 500, busy", "core.overload.FLOOR", ""),
    ("calls that wait for their turn at an application", "code 500, busy", "core.overload.MAX_WAITING", ""),
    ("how long they wait", "code 500, busy", "core.overload.WAIT_SECONDS", "s"),
    ("wait and answer together, while calls are refused", "code 500, busy", "core.overload.ALL_SECONDS", "s"),
    ("calls that a JSON-RPC server is at", "code 500, busy", "core.defaults.MAX_CALLS", ""),
    ("bytes of their requests, and of one more", "code 500, busy", "jsonrpc.in_hand.MAX_CALL_BYTES", "B"),
    ("connections to one application", "further calls wait", "jsonrpc.client.MAX_CONNECTIONS", ""),
    (
        "joined and requested tunnels of a proxy",
        "the longest that reads nothing is closed; if there is none, code 500, stage relay",
        "proxy.relay_limits.MAX_TUNNELS",
        "",
    ),
    ("a connection whose peer lives and reads nothing, at a proxy", "closed", "transport.readers.PAUSE_SECONDS", "s"),
    ("requests for tunnels that wait", "code 500, stage relay", "core.rendezvous.MAX_OPEN_OFFERS", ""),
    ("the same, of one operator", "code 500, stage relay", "core.rendezvous.MAX_OFFERS_PER_CALLER", ""),
    (
        "connections of a port without a finished handshake, a token or a first request",
        "the oldest is closed, of the source with the most; `silent`, at a relay `no_token`",
        "transport.arrivals.MAX_ARRIVING",
        "",
    ),
    ("a ClientHello", "closed, `too_long`", "core.clienthello.MAX_HELLO_BYTES", "B"),
    ("time for a ClientHello", "closed, `too_slow`", "proxy.passthrough.HELLO_SECONDS", "s"),
    (
        "announced names of one operator at a public proxy",
        "code 403 for each further one",
        "core.announcement.MAX_PER_HOLDER",
        "",
    ),
    (
        "wait for a store of announcements that is locked or slow",
        "what is in memory goes on",
        "proxy.announcements.LOOK_SECONDS",
        "s",
    ),
    (
        "wait for others that announce to the same public proxy",
        "code -32603",
        "proxy.private.TURN_SECONDS",
        "s",
    ),
    (
        "connections that a private proxy makes at a time",
        "code 500, stage relay",
        "proxy.private.MAX_DIALLING",
        "",
    ),
    (
        "connections that a private proxy forwards",
        "code 500, stage relay",
        "proxy.private.MAX_CONNECTIONS",
        "",
    ),
    (
        "requests to the internal server where TLS ends, of each kind",
        "further ones wait",
        "proxy.http_passing.INSIDE_CONNECTIONS",
        "",
    ),
    (
        "first line and header fields of an HTTP message where TLS ends",
        "HTTP 431 or 414; of an answer 502",
        "http1.heads.MAX_HEAD",
        "B",
    ),
    ("submissions that wait at the service directory", "code -32603", "directory.service.MAX_WAITING", ""),
    (
        "time of a submission, waiting included",
        "code -32603; it goes on, look before repeating",
        "directory.service.SUBMIT_SECONDS",
        "s",
    ),
    (
        "characters of a signer's certificate in a record",
        "code -32602",
        "core.record.MAX_CERTIFICATE_CHARS",
        "characters",
    ),
    (
        "objects and lists inside each other in `settings` that servers send each other",
        "left out",
        "core.limits.MAX_SETTINGS_NESTING",
        "",
    ),
    ("how far a record may be dated in the future", "code -32603", "core.certificate.CLOCK_TOLERANCE", "s"),
    ("a settings file", "an error", "settings.text.MAX_FILE_BYTES", "B"),
    ("settings files of a program", "an error", "settings.loader.MAX_FILES", ""),
)


def render_limits() -> str:
    """The limits as a Markdown table, with the values that the code has."""
    rows = ["| limit | value | beyond it | constant |", "| --- | --- | --- | --- |"]
    for what, beyond, constant, unit in LIMITS:
        value = limit_value(constant)
        rows.append(f"| {what} | {limit_text(value, unit)} | {beyond} | `{constant}` |")
    return "\n".join(rows) + "\n"


def render_metrics() -> str:
    """The metrics as a Markdown table."""
    rows = ["| metric | type | labels | of | meaning |", "| --- | --- | --- | --- | --- |"]
    for family in sorted(FAMILIES.values(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.kind is Kind.COUNTER else family.name
        labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
        whose = "all" if len(family.programs) == len(Program) else ", ".join(sorted(family.programs))
        rows.append(f"| `{name}` | {family.kind} | {labels} | {whose} | {family.text} |")
    return "\n".join(rows) + "\n"


def render_attacks() -> str:
    """What was tried, as Markdown tables under headings."""
    parts = []
    for heading, attacks in GROUPS.items():
        rows = ["| attack | the attacker sees | the log says | tests |", "| --- | --- | --- | --- |"]
        for attack in attacks:
            tests = "<br>".join(test_text(test) for test in attack.tests)
            rows.append(f"| {attack.what} | {attack.sees} | {attack.logged} | {tests} |")
        parts.append(f"### {heading}\n\n" + "\n".join(rows) + "\n")
    return "\n" + "\n".join(parts)


def render_promises() -> str:
    """What is promised for each fault, as Markdown tables under headings."""
    parts = []
    for heading, faults in FAULTS.items():
        rows = ["| fault | what is promised | shown by |", "| --- | --- | --- |"]
        for fault in faults:
            tests = "<br>".join(test_text(test) for test in fault.tests) or "–"
            rows.append(f"| {fault.what} | {fault.promised} | {tests} |")
        parts.append(f"### {heading}\n\n" + "\n".join(rows) + "\n")
    return "\n" + "\n".join(parts)


def render_reasons() -> str:
    """Each reason with what it means, under a heading that is its anchor."""
    parts = []
    for reason, row in REASONS.items():
        head = f"### `{reason}`\n\n**{row.title[:1].upper()}{row.title[1:]}.** {row.means}\n\n"
        facts = f"- whose: {WHOSE[row.whose]}\n- executed: {EXECUTED[row.executed]}\n"
        parts.append(f"{head}{facts}- **do:** {row.do}\n")
    return "\n" + "\n".join(parts) + "\n"


WHOSE = {
    "caller": "whoever makes the call",
    "ours": "the server's that tells it",
    "peer": "the called operator's",
    "proxy": "the proxy's",
    "directory": "the service directory's",
}
EXECUTED = {"no": "no", "perhaps": "perhaps: find out before you repeat the call", "yes": "yes"}


def render_guards() -> str:
    """The guards that are removed in turn, and how many they are."""
    rows = ["| guard | where | fails without it |", "| --- | --- | --- |"]
    rows += [f"| {guard.what} | `{guard.file}` | {test_text(guard.test)} |" for guard in GUARDS]
    return f"\nThere are {len(GUARDS)} guards.\n\n" + "\n".join(rows) + "\n"


def test_text(test: str) -> str:
    """A test's name for readers, linked to its file."""
    file, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../tests/{file})"


def limit_value(constant: str) -> Any:
    """What the code has: a module's constant, or the default of a class's field (MODULE.CLASS.FIELD)."""
    module, _, name = constant.rpartition(".")
    owner, _, kind = module.rpartition(".")
    if not kind[:1].isupper():
        return getattr(importlib.import_module(f"eps.{module}"), name)
    made = getattr(importlib.import_module(f"eps.{owner}"), kind)
    return made.model_fields[name].default if issubclass(made, Model) else getattr(made(), name)


def limit_text(value: Any, unit: str) -> str:
    """A limit's value for people."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value == 2**53:
        return "2^53"
    if unit == "B":
        size, unit = next(((size, name) for name, size in _SIZES.items() if value % size == 0), (1, "bytes"))
        return f"{value // size:,} {unit}"
    shown = value / _SPANS.get(unit, 1)
    return f"{int(shown) if shown == int(shown) else shown:,} {unit}".strip()


def render_screen(name: str, width: int) -> str:
    """What a command shows, without colour."""
    return f"```text\n{SCREENS[name](Paper(width))}\n```\n"


WHOLE = {
    **{f"screen_{name}_{width}": partial(render_screen, name, width) for name in SCREENS for width in WIDTHS},
    "limits": render_limits,
    "metrics": render_metrics,
    **{f"api_{package.removeprefix('eps.')}": partial(python_api.render, package) for package in python_api.PACKAGES},
    "attacks": render_attacks,
    "guards": render_guards,
    "promises": render_promises,
    "reasons": render_reasons,
}
"""Tables that are about no model."""


def render_table(model: type[Model]) -> str:
    """One model's settings as a Markdown table; without those that its base has a table for."""
    rows = ["| setting | what it is | default | meaning | example |", "| --- | --- | --- | --- | --- |"]
    hints = get_type_hints(model, include_extras=True)
    for name in own_fields(model):
        info = model.model_fields[name]
        # The loader works out where state lies; its meaning says how.
        default = "see right" if name == "state_path" else default_of(info)
        meaning = MEANINGS[model.__name__][name] + (" ↻" if is_alive(model, name) else "")
        rows.append(f"| `{info.alias or name}` | {kind_of(hints[name])} | {default} | {meaning} | {example_of(info)} |")
    return "\n".join(rows) + "\n"


def is_alive(model: type[Model], name: str) -> bool:
    """Whether a running program takes a new value over: of a section's own fields, those say it."""
    return name in (model.alive or ()) and kind_of(get_type_hints(model, include_extras=True)[name])[:1] != "["


def own_fields(model: type[Model]) -> list[str]:
    """The fields that the model's bases have no meaning for: a field that is only made mandatory says nothing again."""
    inherited = {name for base in model.__mro__[1:] for name in MEANINGS.get(base.__name__, ())}
    return [name for name in model.model_fields if name not in inherited]


def example_of(info: FieldInfo) -> str:
    """A setting's example, as one writes it in YAML."""
    if not info.examples:
        return "–"
    (value,) = info.examples
    if isinstance(value, list):
        items = [json.dumps(item) if re.search(r"[:\\]", item) else item for item in value]
        return f"`[{', '.join(items)}]`"
    return f"`{word_of(value)}`"


def word_of(value: Any) -> str:
    """A number, text or truth value, as one writes it in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else value or chr(34) * 2


def kind_of(annotation: Any, *, plural: bool = False) -> str:
    """What kind of value a setting takes, in words."""
    for known, one, many in _WORDS:
        if annotation is known:
            return many if plural else one
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(args[0], plural=plural)
    if origin in (Union, UnionType):
        return kind_of(next(arg for arg in args if arg is not NoneType))
    if origin is tuple:
        return f"list of {kind_of(args[0], plural=True)}"
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in args)
    return _ANCHORS[annotation.__name__]


def default_of(info: FieldInfo) -> str:
    """A setting's default, in words."""
    if info.default_factory is models.sqlite_by_default:
        return "`sqlite`"
    if info.is_required() or info.default is PydanticUndefined:
        return "**required**"
    value = info.default
    if value is None or isinstance(value, Model):
        return "–"
    if isinstance(value, tuple):
        return "`[]`"
    if isinstance(value, int) and value >= 1024**2:
        return f"{value // 1024**2} MiB"
    return f"`{word_of(value)}`"


def documented_models() -> dict[str, type[Model]]:
    """Every model that can occur in settings and has something to say, by name."""
    found: dict[str, type[Model]] = {}
    for program in PROGRAMS.values():
        for model in _models_in(program.model, set()):
            found[model.__name__] = model
    return {name: model for name, model in found.items() if set(model.model_fields) - {"type", "name", "settings"}}


def _models_in(annotation: Any, seen: set[Any]) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        if annotation not in seen:
            seen.add(annotation)
            yield annotation
            for base in annotation.__mro__[1:]:
                if base.__name__ in MEANINGS:
                    yield base
            for field in annotation.model_fields.values():
                yield from _models_in(field.annotation, seen)
        return
    for arg in get_args(annotation):
        yield from _models_in(arg, seen)


def faults() -> list[str]:
    """Settings whose meaning is missing, and texts about what can't be set."""
    known = documented_models()
    found = [f"{name}: no such model in the settings" for name in MEANINGS if name not in known]
    for name, model in known.items():
        nothing = [field for field in own_fields(model) if field not in MEANINGS.get(name, {})]
        found += [f"{name}.{field}: has no text under it that says what it means" for field in nothing]
    return found


def filled(page: str) -> str:
    """``page`` with every table and limit as the code has it."""
    known = documented_models()

    def table(block: re.Match[str]) -> str:
        made = WHOLE[block[2]]() if block[2] in WHOLE else render_table(known[block[2]])
        return block[1] + made + block[3]

    def limit(place: re.Match[str]) -> str:
        return place[1] + limit_text(limit_value(place[2]), place[3] or "") + place[4]

    return _LIMIT.sub(limit, _BLOCK.sub(table, page))


def tables_in(page: str) -> list[str]:
    """The models that ``page`` has tables for."""
    return [block[2] for block in _BLOCK.finditer(page)]


def pictures() -> dict[Path, str]:
    """The screens in colour, by the files that hold them."""
    folder = PAGE.parent / "screens"
    return {folder / f"{name}-{width}.svg": picture(name, width) for name in SCREENS for width in WIDTHS}


def main() -> int:
    """0: up to date or written; 1: wrong."""
    wrong = faults()
    missing = [name for name in MEANINGS if name not in tables_in(PAGE.read_text())]
    wrong += [f"{PAGE.name}: has no <!-- table: {name} -->" for name in missing]
    for fault in wrong:
        print(fault, file=sys.stderr)
    if wrong:
        return 1
    texts = {page: filled(page.read_text()) for page in PAGES} | pictures()
    if "--check" in sys.argv[1:]:
        return int(any(not page.exists() or text != page.read_text() for page, text in texts.items()))
    for page, text in texts.items():
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
