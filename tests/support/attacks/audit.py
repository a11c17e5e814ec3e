"""Attacks on the audit log, by whoever can write its file, and by whoever shows another's evidence; and the guards."""

from support.attacks.kinds import Attack, Guard

CORE, COMMANDS = "core/test_audit.py::", "programs/admin/test_audit.py::"

VERIFY = "– (`eps audit verify` names the line, exit code 1)"

ELSEWHERE = "– (it is checked on another machine)"

ATTACKS = (
    Attack(
        "A line of 10,000 is altered, taken out, moved, doubled, or a head among them",
        "the log is not whole any more",
        VERIFY,
        (CORE + "test_one_change_is_found", CORE + "test_a_moved_line_is_found_at_its_place_too"),
    ),
    Attack(
        "All lines behind an altered one are written anew, each with the hash of the one before it",
        "no head is signed with the log's key; or, if heads are left out, lines that none covers",
        VERIFY,
        (
            CORE + "test_who_writes_the_chain_anew_has_no_key_to_sign_it",
            CORE + "test_a_log_whose_heads_were_taken_out_proves_nothing",
        ),
    ),
    Attack(
        "The end of the log is taken away, heads and all",
        "a log that is whole, unless a later head was handed out before",
        "– (`eps audit verify --head` says that its end was taken away)",
        (CORE + "test_the_end_that_was_taken_away_shows_where_a_head_was_handed_out",),
    ),
    Attack(
        "Garbage is written into the log, to pass for a line that was torn",
        "only a line that the next one tells of, and that lost nothing, passes",
        VERIFY,
        (CORE + "test_a_torn_line_that_the_next_one_tells_is_no_fault_and_no_other_is",),
    ),
    Attack(
        "Evidence of a call is altered: its line, its key, the way to the head, the head",
        "`eps audit check` does not believe it",
        ELSEWHERE,
        (CORE + "test_other_evidence_is_refused", COMMANDS + "test_other_evidence_is_not_believed"),
    ),
    Attack(
        "An operator shows another key than the line's, and says that params and answer were others",
        "`eps audit check` says that it is not the line's key",
        ELSEWHERE,
        (CORE + "test_other_evidence_is_refused",),
    ),
    Attack(
        "An operator shows evidence of a call between others",
        "`eps audit check` says that it had no part in it",
        ELSEWHERE,
        (COMMANDS + "test_who_had_no_part_in_a_call_shows_nothing_of_it",),
    ),
    Attack(
        "Another user of the machine reads the log's secret or its key",
        "the start is refused while files are readable so",
        "`notice` (level `fatal`), reason `key-readable`",
        (COMMANDS + "test_files_that_others_can_read_end_a_start",),
    ),
    Attack(
        "The disk is filled, so that calls go without lines",
        "with `refuse`, no call; with `warn`, calls that are counted",
        "`audit_lines_lost`, and a `notice` (level `error`)",
        (
            "programs/running/test_audit_log.py::test_calls_are_refused_while_the_disk_is_full_where_settings_say_so",
            "programs/running/test_audit_log.py::test_calls_go_on_while_the_disk_is_full_and_are_counted",
        ),
    ),
)

GUARDS = (
    Guard(
        "each line of the audit log holds the hash of the one before it",
        "core/audit_reading.py",
        "elif line.previous != last.hash:",
        "elif False:",
        CORE + "test_one_change_is_found",
    ),
    Guard(
        "its heads are signed with its key",
        "core/audit_reading.py",
        "if told is None or not self.signed(*told):",
        "if told is None:",
        CORE + "test_who_writes_the_chain_anew_has_no_key_to_sign_it",
    ),
    Guard(
        "a log that heads were taken out of is not whole",
        "core/audit_reading.py",
        "if self.uncovered > MAX_UNCOVERED:",
        "if False:",
        CORE + "test_a_log_whose_heads_were_taken_out_proves_nothing",
    ),
    Guard(
        "evidence shows the line's own key",
        "core/audit_evidence.py",
        'if line.what.get("key") != key_mark(key):',
        "if False:",
        CORE + "test_other_evidence_is_refused",
    ),
    Guard(
        "one process writes an audit log",
        "programs/running/audit_log.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "programs/running/test_audit_log.py::test_a_second_process_does_not_write_to_it",
    ),
    Guard(
        "a head that was handed out is still in it",
        "core/audit_reading.py",
        "if is_here or is_before:",
        "if False:",
        CORE + "test_the_end_that_was_taken_away_shows_where_a_head_was_handed_out",
    ),
    Guard(
        "garbage in it is a torn line only where the next one says so",
        "core/audit_reading.py",
        'if self._unread is not None and line.kind in ("begin", "torn") and self._follows(line):',
        "if self._unread is not None:",
        CORE + "test_a_torn_line_that_the_next_one_tells_is_no_fault_and_no_other_is",
    ),
    Guard(
        "evidence of a call leads to a signed head",
        "core/audit_evidence.py",
        "if reached.hex() != head.hash or line.number + len(then) != head.count or line.log != head.log:",
        "if False:",
        CORE + "test_other_evidence_is_refused",
    ),
    Guard(
        "evidence of a call is signed by the operator that an administrator has signed for",
        "programs/admin/audit.py",
        "if not is_signed(key, shown_.head, shown_.signature):",
        "if False:",
        COMMANDS + "test_other_evidence_is_not_believed",
    ),
    Guard(
        "it comes from one of the call's two sides",
        "programs/admin/audit.py",
        'if operator not in (shown_.call.get("caller"), shown_.call.get("callee")):',
        "if False:",
        COMMANDS + "test_who_had_no_part_in_a_call_shows_nothing_of_it",
    ),
    Guard(
        "only its user may read the audit log's secret and key",
        "programs/wiring/audit.py",
        "if rights & 0o077:",
        "if False:",
        COMMANDS + "test_files_that_others_can_read_end_a_start",
    ),
    Guard(
        "no call begins without room for its line, where settings say so",
        "programs/running/audit_log.py",
        "if self._file.refuse and (self._queue is None or self._queue.trouble or not self._has_room(self._under_way)):",
        "if False:",
        "programs/running/test_audit_log.py::test_no_call_begins_without_room_for_its_line",
    ),
)
