"""Requests, the directory, rights."""

from eps.reasons.words import Explanation, Reason, Whose

REQUESTS: dict[Reason, Explanation] = {
    Reason.BAD_REQUEST: Explanation(
        "the request can't be read",
        "What came is no request: a key is missing, or has the wrong type. The message names the place.",
        Whose.CALLER,
        "correct the program that calls",
        is_open=True,
    ),
    Reason.NOT_JSON: Explanation(
        "the request is not JSON",
        "The body is no JSON in UTF-8. The message says where it stops being it.",
        Whose.CALLER,
        "correct the program that calls",
        is_open=True,
    ),
    Reason.BAD_ADDRESS: Explanation(
        "the request's address can't be read",
        "A method is OPERATOR.METHOD, an id has no control characters. The message says what is wrong with this one.",
        Whose.CALLER,
        "correct the method or the id in the program that calls",
        is_open=True,
    ),
    Reason.BAD_PARAMS: Explanation(
        "the params don't fit the method",
        "A method of the network itself (`_directory`, `requestConnection`, …) was given params that it doesn't know.",
        Whose.CALLER,
        "see the method's params in the reference",
        is_open=True,
    ),
    Reason.TOO_DEEP: Explanation(
        "the params are nested too deep",
        "Params hold more objects and lists inside each other than can travel.",
        Whose.CALLER,
        "send flatter params",
        is_open=True,
    ),
    Reason.TOO_LARGE: Explanation(
        "the message is too large",
        "A request, or an answer, is larger than can travel; the message gives both sizes.",
        Whose.CALLER,
        "send or ask for less at once",
        is_open=True,
    ),
    Reason.METHOD_NOT_FOUND: Explanation(
        "there is no such method",
        "The program that was asked has no method of that name.",
        Whose.CALLER,
        "check the method's name",
        is_open=True,
    ),
    Reason.NOT_FOUND: Explanation(
        "what was asked for is not there",
        "Something that the request names, an entry or a channel, does not exist there, or the certificate does "
        "not prove the name that the sender gave itself.",
        Whose.CALLER,
        "check the name in the message",
        is_open=True,
    ),
    Reason.NO_DIRECTORY: Explanation(
        "it has no verified directory yet",
        "The server has started without a copy of the directory, and has not reached a service directory since. "
        "It knows no operator, so it can call nobody and let nobody in.",
        Whose.DIRECTORY,
        "start the service directory, or correct directory.settings.endpoints; the log line `directory_failed` "
        "says why it was not read",
    ),
    Reason.DIRECTORY_TOO_OLD: Explanation(
        "its directory is older than it may be",
        "The server has heard from no service directory for longer than its setting allows, and has stopped "
        "trusting what it knows.",
        Whose.DIRECTORY,
        "bring back the link to the service directory; the log line `directory_failed` says what is wrong with it",
    ),
    Reason.DIRECTORY_STALE: Explanation(
        "its directory is not the newest",
        "The other side shows a certificate that our directory doesn't pin, and our directory has not been "
        "confirmed for a while: most likely the certificate was replaced since.",
        Whose.OURS,
        "bring back our link to the service directory; the log line `directory_failed` says what is wrong with it",
    ),
    Reason.DIRECTORY_UNREACHABLE: Explanation(
        "it does not reach its service directory",
        "No service directory answers. What was verified before stays in use, and calls go on; changes of rights "
        "and certificates are not learned.",
        Whose.DIRECTORY,
        "start the service directory, or correct directory.settings.endpoints; ask who serves it",
    ),
    Reason.DIRECTORY_SET_BACK: Explanation(
        "the service directory lacks records that were verified",
        "The service directory answers with less than it had: its store was restored from an older copy, or is "
        "another one. What was verified stays in use.",
        Whose.DIRECTORY,
        "give the service directory its records back: sd store import from a verified copy (how-to: recover the "
        "directory)",
    ),
    Reason.OWN_ENTRY: Explanation(
        "the directory has no entry of this server's own operator",
        "The directory is there, but has no records of the operator that the server runs for; until then nobody "
        "knows it.",
        Whose.OURS,
        "submit our records (eps sd submit-records), and check «name» in the settings",
        is_open=True,
    ),
    Reason.OPERATOR_UNKNOWN: Explanation(
        "that operator is not in the directory",
        "Nobody of that name has an entry, or it was removed: the message says which.",
        Whose.CALLER,
        "check the name; eps directory show lists the operators",
        is_open=True,
    ),
    Reason.RECORD_REFUSED: Explanation(
        "the record is refused",
        "A change record can't be taken: signature, order, form or rights are wrong. Nothing of its batch was stored.",
        Whose.CALLER,
        "see the message; eps sd verify says the same of a whole chain",
        is_open=True,
    ),
    Reason.RECORD_AHEAD: Explanation(
        "the record is dated in the future",
        "The machine that signed has a clock that is ahead of the service directory's.",
        Whose.CALLER,
        "set the clock of the machine that signed, and sign anew",
        is_open=True,
    ),
    Reason.STALE: Explanation(
        "the record follows another than the last",
        "Somebody else submitted in between. Nothing was stored.",
        Whose.CALLER,
        "make the records anew: eps sd submit-records does so by itself",
        is_open=True,
    ),
    Reason.NO_PERMISSION: Explanation(
        "the caller has no right to this",
        "The callee's directory entry grants the method to groups that the caller is in none of, or what was "
        "asked for is nobody's right but another's. The message names the groups.",
        Whose.PEER,
        "the callee's operator grants rights in the section «services» of its directory entry; groups are in the "
        "caller's section «groups»",
        is_open=True,
    ),
    Reason.METHOD_UNKNOWN: Explanation(
        "no service has that method",
        "The directory lists no service of the callee with that method. The message lists what the caller may "
        "call there.",
        Whose.CALLER,
        "check the method's name",
        is_open=True,
    ),
}
