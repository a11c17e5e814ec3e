"""Fill in the tables of docs/reference-settings.md from the settings' models: python docs/generate.py [--check]

Types and defaults are taken from the code. What a setting means stands here, in MEANINGS; a setting without an entry,
or an entry without a setting, is an error, so that the page can't fall behind. tests/test_docs.py runs the check.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic_core import PydanticUndefined

from eps.settings import PROGRAMS, fields, models
from eps.settings.fields import Model

PAGE = Path(__file__).parent / "reference-settings.md"

_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_WORDS = (
    (fields.ExistingFile, "file", "files"),
    (fields.ExistingFiles, "list of files", ""),
    (fields.ExistingPath, "file or folder", ""),
    (fields.StateFile, "file, seen from `state_path`", ""),
    (fields.FolderPath, "folder", ""),
    (fields.BindAddress, "HOST:PORT to listen on", ""),
    (fields.Endpoint, "HOST:PORT", "HOST:PORT"),
    (fields.Url, "URL", "URLs"),
    (fields.RegularExpression, "regular expression", "regular expressions"),
    (fields.UrlPath, "path in a URL", ""),
    (fields.OperatorName, "name of an operator", "names of operators"),
    (fields.Seconds, "seconds", ""),
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
    "CorsSettings": "[CORS](#cors)",
    "MetricsSettings": "[metrics](#metrics)",
    "SigningSettings": "[signing](#signing)",
    "JsonRpcClientOptions": "[how to call](#json-rpc-client)",
    "JsonRpcClientSettings": "[JSON-RPC client](#json-rpc-client)",
    "JsonRpcServerSettings": "[JSON-RPC server](#json-rpc-server)",
    "SdJsonRpcServerSettings": "[JSON-RPC server](#json-rpc-server)",
    "SdDirectorySettings": "[records](#records)",
    "PublicProxySettings": "[public proxy](#public-proxy)",
    "PrivateProxySettings": "[private proxy](#private-proxy)",
    "InternalEndpointSettings": "[internal endpoint](#internal-endpoint)",
}

Meaning = tuple[str, str]
"""What a setting means, and an example (may be empty)."""

MEANINGS: dict[str, dict[str, Meaning]] = {
    "EpsSettings": {
        "name": ("our operator's name, as the directory and our certificates spell it", "`hd-1`"),
        "directory": ("where the directory comes from", ""),
        "channels": ("ways in and out, in the order in which they are asked to deliver a call; one of each type", ""),
        "metrics": ("where Prometheus reads; without it there is no metrics endpoint", ""),
        "signing": ("only for `eps sd submit-records`, `sign` and `verify`", ""),
        "state_path": (
            "folder for what the server keeps: the directory that it verified last. Default: `$STATE_DIRECTORY` "
            "(systemd sets it), else `.eps/NAME` in the working directory",
            "`/var/lib/eps`",
        ),
        "call_timeout": ("a call that has no answer by then fails with an unknown outcome", "`60`"),
    },
    "ApiDirectorySettings": {
        "endpoints": (
            "URLs of service directories; the next one is asked when one is silent or can't be believed",
            '`["https://sd.example.org:3322/jsonrpc"]`',
        ),
        "server_names": ("names in the endpoints' certificates, by position; \"\" or none: the URL's host", "`[sd-1]`"),
        "jsonrpc_client": ("our certificate for the service directory, an HTTP proxy", ""),
        "ca_certificate_files": ("roots of the certificates that **sign** change records", "`[/etc/eps/root.crt]`"),
        "ca_intermediate_certificate_files": ("authorities between those roots and the signers", ""),
        "cache_entries_for": ("between two questions for news", "`30`"),
        "max_answer": ("of one answer of the service directory; the whole chain comes in one", ""),
    },
    "JsonDirectorySettings": {
        "path": ("unsigned records; a folder's `.json` files are read in name order. For tests only", "`records.json`"),
    },
    "GrpcClientSettings": {
        "tls": ("our certificate, and the authorities of other operators' certificates", ""),
        "useProxy": ("reach operators that are behind a proxy through it", "`false`"),
        "idle_timeout": ("a connection without a call for so long is closed", ""),
    },
    "GrpcServerSettings": {
        "bind_address": ("where other operators connect; `localhost` if everybody comes through a proxy", "`:4444`"),
        "tls": ("our certificate, and the authorities of other operators' certificates", ""),
        "tcp_rate_limits": ("new connections per source address; tunnels don't count", ""),
        "internal_endpoints": (
            "relay endpoints that we dial when a proxy names them, besides those that the directory lists for it",
            '`["10.0.0.7:9999"]`',
        ),
    },
    "SigningSettings": {
        "certificate_file": ("our signing certificate (ECDSA P-256, key usage digitalSignature)", "`hd-1-sign.crt`"),
        "key_file": ("its key; the PEM block must say `EC PRIVATE KEY`", "`hd-1-sign.key`"),
        "ca_certificate_file": ("root for `eps sd verify`", "`root.crt`"),
        "ca_intermediate_certificate_files": ("authorities below it", "`[intermediate.crt]`"),
    },
    "SdSettings": {
        "jsonrpc_server": ("where operators ask for records and submit them", ""),
        "directory": ("the store, and whose signatures count", ""),
        "metrics": ("where Prometheus reads; without it there is no metrics endpoint", ""),
        "state_path": (
            "folder for the store. Default: `$STATE_DIRECTORY` (systemd sets it), else `.eps/sd` in the working "
            "directory",
            "`/var/lib/sd`",
        ),
    },
    "SdJsonRpcServerSettings": {
        "max_request_body": ("of one submission", ""),
    },
    "SdDirectorySettings": {
        "datastore": ("where the chain of records is kept", ""),
        "ca_certificate_files": ("roots of the certificates that sign change records", "`[root.crt]`"),
        "ca_intermediate_certificate_files": ("authorities between those roots and the signers", ""),
    },
    "ProxySettings": {
        "public": ("for `proxy run public`", ""),
        "private": ("for `proxy run private`", ""),
        "metrics": ("where Prometheus reads; without it there is no metrics endpoint", ""),
        "state_path": (
            "folder for the store. Default: `$STATE_DIRECTORY` (systemd sets it), else `.eps/NAME-proxy` in the "
            "working directory",
            "`/var/lib/proxy`",
        ),
    },
    "PublicProxySettings": {
        "name": ("our operator's name", "`public-proxy-1.ga`"),
        "datastore": ("where announcements are kept (TLS passthrough)", ""),
        "tls_bind_address": ("where TLS clients connect (TLS passthrough)", "`:443`"),
        "internal_bind_address": ("where the relay listens for tunnels", "`:9999`"),
        "internal_endpoint": ("the relay's address as operators are told to dial it", "`proxy.example.org:9999`"),
        "jsonrpc_client": ("the proxy's EPS server, which calls operators for it", ""),
        "jsonrpc_server": ("where that EPS server hands on what operators ask of the proxy", ""),
        "tcp_rate_limits": ("new connections to the relay per source address", ""),
        "accept_timeout": ("how long a token lives, and one half of a tunnel waits for the other", ""),
        "idle_timeout": ("a tunnel without a byte for so long is closed; kept connections ping every 30 s", ""),
    },
    "PrivateProxySettings": {
        "name": ("our operator's name", "`private-proxy-1.ga`"),
        "datastore": ("where announcements are kept", ""),
        "internal_endpoint": ("what is behind the proxy", ""),
        "jsonrpc_client": ("the proxy's EPS server, which calls operators for it", ""),
        "jsonrpc_server": ("where that EPS server hands on what operators ask of the proxy", ""),
    },
    "InternalEndpointSettings": {
        "address": ("where connections are forwarded", "`localhost:7777`"),
        "tls": ("given: TLS ends here, and HTTP requests are forwarded; else bytes are forwarded as they are", ""),
        "jsonrpc_client": ("given: JSON-RPC requests are forwarded to its endpoint", ""),
        "jsonrpc_path": ("where those are accepted", ""),
        "timeout": ("for an answer", ""),
    },
    "TlsSettings": {
        "ca_certificate_files": ("authorities of the other side's certificate", "`[root.crt]`"),
        "certificate_file": ("our certificate, then its intermediates (PEM)", "`hd-1.crt`"),
        "key_file": ("its key, without a passphrase (PEM)", "`hd-1.key`"),
        "server_name": ("clients: the name to ask for and to expect, instead of the endpoint's host", "`sd-1`"),
        "verify_client": ("servers: demand a client certificate from those authorities", ""),
        "request_client_cert": ("servers, with `verify_client: false`: check a certificate if one is shown", ""),
        "insecure_skip_verify": ("clients: don't check chain and name. Pins are always checked", ""),
        "allowed_names": (
            "JSON-RPC servers: names whose certificates may call, besides our operator's own. Missing: every "
            "certificate from those authorities may, and a warning says so",
            "`[demo-app]`",
        ),
    },
    "CorsSettings": {
        "allowed_hosts": (
            "searched in the `Origin` header; pages from there may call",
            '`["^https://app\\.example$"]`',
        ),
        "allowed_headers": ("request headers that they may send; empty: all", ""),
        "allowed_methods": ("HTTP methods that they are told; empty: the usual ones", ""),
    },
    "RateLimitSettings": {
        "type": ("the calendar window (UTC)", "`minute`"),
        "limit": ("new connections per source address in it; the ones beyond are closed on accept", "`30`"),
    },
    "JsonRpcServerSettings": {
        "bind_address": ("where to listen", "`localhost:5555`"),
        "path": ("where calls are posted to", ""),
        "tls": ("without it: plain HTTP, and whoever can connect may call", ""),
        "cors": ("which web pages may call; without it: none", ""),
        "tcp_rate_limits": ("new connections per source address", ""),
    },
    "JsonRpcClientOptions": {
        "tls": ("our certificate and the server's authorities; for `https` only", ""),
        "proxy_url": ("an HTTP proxy to go through", "`http://proxy.example.org:3128`"),
        "local": ("accepted in old files; changes nothing", ""),
        "keep_alive": (
            "an unused connection is kept so long, if the server doesn't say how long it keeps its own",
            "",
        ),
    },
    "JsonRpcClientSettings": {
        "endpoint": ("what to call", "`http://localhost:6666/jsonrpc`"),
    },
    "SqliteSettings": {
        "path": ("the database's file", "`records.sqlite`"),
    },
    "RedisSettings": {
        "addresses": ("of the Redis server, or of the sentinels", '`["localhost:6379"]`'),
        "password": ("may be empty, must be there; take it from the environment with `vars`", "`$REDIS_PASSWORD`"),
        "master_name": ("given: `addresses` are those of sentinels that watch this master", ""),
        "database": ("the database's number", ""),
        "key": ("the list that holds the entries; never shared by two programs", "`sd-1`"),
    },
    "FileSettings": {
        "filename": ("the file; never shared by two programs", "`records.bin`"),
    },
    "MetricsSettings": {
        "bind_address": ("where `GET /metrics` is answered, without TLS", "`localhost:2112`"),
    },
}


def render_table(model: type[Model]) -> str:
    """One model's settings as a Markdown table; without those that its base has a table for."""
    rows = ["| setting | what it is | default | meaning | example |", "| --- | --- | --- | --- | --- |"]
    hints = get_type_hints(model, include_extras=True)
    for name in own_fields(model):
        info = model.model_fields[name]
        key = info.alias or name
        meaning, example = MEANINGS[model.__name__][key]
        # The loader works out where state lies; its meaning says how.
        default = "see right" if key == "state_path" else default_of(info)
        rows.append(f"| `{key}` | {kind_of(hints[name])} | {default} | {meaning} | {example or '–'} |")
    return "\n".join(rows) + "\n"


def own_fields(model: type[Model]) -> list[str]:
    """The fields that the model's base has no entry for in MEANINGS."""
    inherited = {name for base in model.__mro__[1:] for name in MEANINGS.get(base.__name__, ())}
    return [name for name, info in model.model_fields.items() if (info.alias or name) not in inherited]


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


def default_of(info: Any) -> str:
    """A setting's default, in words."""
    if info.default_factory is models.sqlite_by_default:
        return "`sqlite`"
    if info.is_required() or info.default is PydanticUndefined:
        return "**required**"
    value = info.default
    if value is None or isinstance(value, Model):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[]`"
    if isinstance(value, int) and value >= 1024**2:
        return f"{value // 1024**2} MiB"
    return f"`{value:g}`" if isinstance(value, int | float) else f"`{value or chr(34) * 2}`"


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
    """Where MEANINGS and the models differ."""
    known = documented_models()
    found = [f"{name}: no such model in the settings" for name in MEANINGS if name not in known]
    for name, model in known.items():
        keys = {model.model_fields[field].alias or field for field in own_fields(model)}
        given = set(MEANINGS.get(name, {}))
        # What a base has said need not be said again (tls settings that are mandatory in some places).
        found += [f"{name}.{key}: has no meaning" for key in keys - given]
        found += [f"{name}.{key}: no such setting" for key in given - keys]
    return found


def filled(page: str) -> str:
    """``page`` with every table as the models have it."""
    known = documented_models()
    return _BLOCK.sub(lambda block: block[1] + render_table(known[block[2]]) + block[3], page)


def tables_in(page: str) -> list[str]:
    """The models that ``page`` has tables for."""
    return [block[2] for block in _BLOCK.finditer(page)]


def main() -> int:
    """0: up to date or written; 1: wrong."""
    wrong = faults()
    missing = [name for name in MEANINGS if name not in tables_in(PAGE.read_text())]
    wrong += [f"{PAGE.name}: has no <!-- table: {name} -->" for name in missing]
    for fault in wrong:
        print(fault, file=sys.stderr)
    if wrong:
        return 1
    text = filled(PAGE.read_text())
    if "--check" in sys.argv[1:]:
        return int(text != PAGE.read_text())
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
