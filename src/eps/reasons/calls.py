"""The call itself, and what a server has with itself alone."""

from eps.reasons.words import Explanation, Reason, Whose

CALLS: dict[Reason, Explanation] = {
    Reason.BUSY: Explanation(
        "it has as many calls as it can do well",
        "Whoever would do the work is at enough calls already. This one was not begun.",
        Whose.PEER,
        "try again after retry_after seconds, and wait twice as long each time",
        is_open=True,
    ),
    Reason.STOPPING: Explanation(
        "it is being stopped or restarted",
        "The server, or the proxy, takes no new calls any more: it is stopping, mostly to come back at once.",
        Whose.PEER,
        "try again in a few seconds",
        is_open=True,
    ),
    Reason.NOT_SENT: Explanation(
        "the call could not be sent",
        "The connection went away before the call was on it, or had no room for it.",
        Whose.PEER,
        "try again; the message says what became of the connection",
    ),
    Reason.NO_ANSWER: Explanation(
        "no answer came in time",
        "The call was sent, and nothing came back before its deadline. It may be running still.",
        Whose.PEER,
        "find out there whether it was executed before you repeat it; look whether that server hangs",
        executed="perhaps",
    ),
    Reason.BROKE_OFF: Explanation(
        "the connection broke off before the answer",
        "The call was sent, and the connection ended before an answer came.",
        Whose.PEER,
        "find out there whether it was executed before you repeat it",
        executed="perhaps",
    ),
    Reason.BAD_ANSWER: Explanation(
        "what came back is no answer",
        "The other side answered in a form that says nothing of the call.",
        Whose.PEER,
        "look into the other side's log",
        executed="perhaps",
    ),
    Reason.ANSWER_REFUSED: Explanation(
        "the answer can't be passed on",
        "The call ran, but its answer is too large, too deep, or holds what can't travel.",
        Whose.PEER,
        "don't repeat it; what the method answers must change",
        executed="yes",
        is_open=True,
    ),
    Reason.APPLICATION_DOWN: Explanation(
        "its application refuses connections",
        "The EPS server of the callee is well, but the program behind it that does the work is not reached.",
        Whose.PEER,
        "start the application, or correct the jsonrpc_client's endpoint",
    ),
    Reason.APPLICATION_SILENT: Explanation(
        "its application did not answer in time",
        "The program that does the work was given the call and has not answered before the deadline.",
        Whose.PEER,
        "find out in the application's log whether it was executed before you repeat the call",
        executed="perhaps",
    ),
    Reason.APPLICATION_BROKE_OFF: Explanation(
        "its application broke off",
        "The program that does the work took the call, and its connection ended before it answered: it crashed, "
        "or was restarted.",
        Whose.PEER,
        "find out in the application's log whether it was executed before you repeat the call",
        executed="perhaps",
    ),
    Reason.APPLICATION_ANSWER: Explanation(
        "its application answers no JSON-RPC",
        "What answers at the application's endpoint is something else, a web page say: the endpoint or its path "
        "is wrong, or a proxy before it answers.",
        Whose.PEER,
        "correct the jsonrpc_client's endpoint; check what answers there",
        executed="perhaps",
    ),
    Reason.INTERNAL: Explanation(
        "an error inside the server",
        "A defect of the server that says so.",
        Whose.PEER,
        "look into that server's log, and report it",
        executed="perhaps",
    ),
    Reason.STORE_FAILED: Explanation(
        "the datastore can't be used at present",
        "The server can't read or write what it keeps: its disk, its database or its Redis.",
        Whose.PEER,
        "its administrators read in its log what is wrong; try again later",
    ),
    Reason.AUDIT_FAILED: Explanation(
        "it can't write its audit log at present, and takes no calls without",
        "The server's settings say that no call is to be without its line in the audit log (`audit.when_failing: "
        "refuse`), and the log can't be written: the disk is full, or too slow for so many calls.",
        Whose.PEER,
        "its administrators read in its log what is wrong with the audit log's file; try again later",
    ),
    Reason.SETTINGS: Explanation(
        "the settings can't be used",
        "A settings file has a wrong type, an unknown key or an undefined variable; the message names file, line "
        "and key.",
        Whose.OURS,
        "correct the place that the message names; config check reads all again",
    ),
    Reason.CANT_START: Explanation(
        "the program can't start",
        "Something that the start needs is missing, or can't be used; the message says what.",
        Whose.OURS,
        "see the message",
    ),
    Reason.PORT_TAKEN: Explanation(
        "a port is taken",
        "Another program has the port that the settings name; the message says which, where the system tells.",
        Whose.OURS,
        "stop the other program, or name another port",
    ),
    Reason.KEY_MISFIT: Explanation(
        "a key does not fit its certificate",
        "Two files were named together that don't belong together.",
        Whose.OURS,
        "name a certificate and its own key",
    ),
    Reason.KEY_READABLE: Explanation(
        "a private key can be read by others",
        "The file's mode lets other users of the machine read a private key.",
        Whose.OURS,
        "chmod 600 the file; renew the key if others have an account there",
        executed="yes",
    ),
    Reason.DISK_FULL: Explanation(
        "a disk has no room",
        "What the program must keep can't be written. Once there is room, it goes on by itself.",
        Whose.OURS,
        "make room on the disk that the message names",
    ),
}
