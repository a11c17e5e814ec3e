"""The words, and what there is to say of each."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why something failed, in one stable word: the same in answers, logs and documents. A row of ``eps.reasons.TABLE``
    says what each means, whose it is and what to do. Words are added, and never given another meaning.
    """

    # our request
    BAD_REQUEST = "bad-request"
    NOT_JSON = "not-json"
    BAD_ADDRESS = "bad-address"
    BAD_PARAMS = "bad-params"
    TOO_DEEP = "too-deep"
    TOO_LARGE = "too-large"
    METHOD_NOT_FOUND = "method-not-found"
    NOT_FOUND = "not-found"
    # the directory
    NO_DIRECTORY = "no-directory"
    DIRECTORY_TOO_OLD = "directory-too-old"
    DIRECTORY_STALE = "directory-stale"
    DIRECTORY_UNREACHABLE = "directory-unreachable"
    DIRECTORY_SET_BACK = "directory-set-back"
    OWN_ENTRY = "own-entry"
    OPERATOR_UNKNOWN = "operator-unknown"
    RECORD_REFUSED = "record-refused"
    RECORD_AHEAD = "record-ahead"
    STALE = "stale"
    # rights
    NO_PERMISSION = "no-permission"
    METHOD_UNKNOWN = "method-unknown"
    # the way
    PEER_OFF = "peer-off"
    SECOND_SERVER = "second-server"
    NO_WAY = "no-way"
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    ADDRESS_WRONG = "address-wrong"
    HTTP_PROXY_DOWN = "http-proxy-down"
    HTTP_PROXY_REFUSES = "http-proxy-refuses"
    # the proxy between
    PROXY_UNREACHABLE = "proxy-unreachable"
    PROXY_PROGRAM_DOWN = "proxy-program-down"
    PROXY_SILENT = "proxy-silent"
    PROXY_FULL = "proxy-full"
    RELAY_UNREACHABLE = "relay-unreachable"
    RELAY_SILENT = "relay-silent"
    RELAY_NOT_LISTED = "relay-not-listed"
    TOKEN_LATE = "token-late"  # noqa: S105 - no password
    PEER_HANGS = "peer-hangs"
    NO_TUNNEL = "no-tunnel"
    # who they are
    OWN_PIN = "own-pin"
    PEER_PIN = "peer-pin"
    OWN_CA = "own-ca"
    PEER_CA = "peer-ca"
    OWN_EXPIRED = "own-expired"
    PEER_EXPIRED = "peer-expired"
    OWN_CLOCK = "own-clock"
    PEER_CLOCK = "peer-clock"
    CERTIFICATE_REFUSED = "certificate-refused"
    TLS_FAILED = "tls-failed"
    # the call itself
    BUSY = "busy"
    STOPPING = "stopping"
    NOT_SENT = "not-sent"
    NO_ANSWER = "no-answer"
    BROKE_OFF = "broke-off"
    BAD_ANSWER = "bad-answer"
    ANSWER_REFUSED = "answer-refused"
    APPLICATION_DOWN = "application-down"
    APPLICATION_SILENT = "application-silent"
    APPLICATION_BROKE_OFF = "application-broke-off"
    APPLICATION_ANSWER = "application-answer"
    # a server's own matters
    INTERNAL = "internal"
    STORE_FAILED = "store-failed"
    AUDIT_FAILED = "audit-failed"
    SETTINGS = "settings"
    CANT_START = "cant-start"
    PORT_TAKEN = "port-taken"
    KEY_MISFIT = "key-misfit"
    KEY_READABLE = "key-readable"
    DISK_FULL = "disk-full"


class Whose(StrEnum):
    """Where the cause mostly lies, for whoever reads the word. ``error.data.side`` says it of the case at hand."""

    CALLER = "caller"
    OURS = "ours"
    PEER = "peer"
    PROXY = "proxy"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one word.

    Attributes:
        title: what happened, after «hd-2 reports: »; «it» is who reports.
        means: for somebody who has never seen the word, at night.
        whose: see there.
        do: what helps.
        executed: whether the call ran: no, perhaps, yes.
        is_open: the error's own message may be read by everybody: it holds what the request and the directory say.
    """

    title: str
    means: str
    whose: Whose
    do: str
    executed: str = "no"
    is_open: bool = False
