"""What is promised for each fault, one line each: what docs/reference-reliability.md prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks.

    Attributes:
        what: happens.
        promised: what comes of calls, and how soon all is well; or that nothing is promised.
        tests: ``FILE::NAME``, seen from tests/; every one of them shows a part of it. None only where nothing is
            promised.
    """

    what: str
    promised: str
    tests: tuple[str, ...]


NOT_PROMISED = "Not promised"
"""How the promise begins where there is none."""

STRUCK = "faults/test_struck_programs.py::"
PROGRAMS = "integration/test_programs.py::"
LINKS = "faults/test_dead_links.py::test_a_dead_link_is_noticed_within_seconds"
SILENT = "faults/test_silent_connections.py::"
SQLITE = "datastores/test_sqlite.py::"
REDIS = "datastores/test_redis.py::"
DAMAGED = "faults/test_damaged_stores.py::"
FULL = "faults/test_full_disk.py::"
API = "directory/test_api.py::"
SERVER = "grpc/test_server.py::"
CONNECTION = "grpc/test_connection.py::"
SPLICE = "transport/test_splice.py::"
POOL = "channels/test_pool.py::"
QUEUE = "programs/running/test_log_queue.py::"
FILE = "datastores/test_file.py::"
HOSTILE = "integration/test_hostile_peers.py::"

PROGRAM_FAULTS = (
    Fault(
        "An EPS server or a proxy is killed (SIGKILL) under load, at any of the six steps, and started again",
        "Calls that it had are unknown, or not sent. All are answered again within a second or so on a machine that "
        "has time for it (5 s are asked for by `make soak`), also if all programs are killed at once",
        (
            STRUCK + "test_a_program_is_struck_under_load",
            STRUCK + "test_a_program_is_struck_at_each_step",
            PROGRAMS + "test_servers_killed_and_restarted",
            "integration/test_passthrough_programs.py::test_every_program_may_be_killed",
        ),
    ),
    Fault(
        "An EPS server or a proxy is frozen (SIGSTOP), at any of the six steps, for 3 s or for 20 s, and goes on",
        "No call runs twice, and none that was said not to be sent runs later. All are answered again within 10 s",
        (
            STRUCK + "test_a_program_is_struck_under_load",
            STRUCK + "test_a_program_is_struck_at_each_step",
            STRUCK + "test_a_program_is_frozen_until_it_is_given_up",
        ),
    ),
    Fault(
        "The proxy's EPS server is killed, or frozen for a moment, while a tunnel stands",
        "No call fails: it is needed for new tunnels only",
        (STRUCK + "test_a_program_is_struck_under_load",),
    ),
    Fault(
        "Any of the networks in [reference-broken-networks.md](reference-broken-networks.md)",
        "The caller is told where it failed, whose it is, why, what to do, and whether the call ran",
        ("faults/test_broken_networks.py::test_what_is_told", "faults/test_broken_networks_late.py::test_what_is_told"),
    ),
    Fault(
        "A server is told to stop while calls run (SIGTERM, `eps server drain`)",
        "All are answered, in every order of channels, as long as they end within `drain_timeout`",
        ("faults/test_stopping.py::test_running_calls_are_answered",),
    ),
    Fault(
        "B, the proxy, its EPS server, or the service directory is restarted under load (SIGTERM)",
        "No call fails where the program is back within `patience` (3 s unless set): until then they are held",
        (
            "faults/test_rolling_restart.py::test_a_program_is_restarted_under_load",
            "faults/test_rolling_restart.py::test_all_are_restarted_one_after_another_under_load",
            "broker/test_patience.py::test_a_call_that_was_not_sent_is_tried_again",
            "broker/test_patience.py::test_what_may_have_run_and_what_is_final_is_not",
            "broker/test_patience.py::test_only_so_many_wait",
        ),
    ),
    Fault(
        "A server's own restart, by systemd with its sockets or with `--take-over`, a proxy's with tunnels that stand",
        "No connection is refused, and no call and no TLS client's connection fails; a successor that can't start "
        "leaves the former as it was",
        (
            "faults/test_handover.py::test_sockets_of_systemd_are_used_and_outlive_the_program",
            "faults/test_handover.py::test_no_call_fails_while_a_process_takes_anothers_place",
            "faults/test_proxy_stops.py::test_no_tls_client_is_lost_while_a_process_takes_anothers_place",
            "faults/test_handover.py::test_no_connection_is_refused",
            "faults/test_handover.py::test_one_that_cannot_start_leaves_the_other_as_it_was",
        ),
    ),
    Fault(
        "A proxy is stopped while tunnels stand, or TLS clients are connected (SIGTERM, `proxy drain`)",
        "It takes nothing new, asks both ends of its tunnels to make others, and ends when the last connection has. "
        "Calls that run are answered. What has not ended within `drain_timeout` is cut, and its calls are unknown; "
        "peers of another make don't renew, and go on until then",
        (
            "faults/test_proxy_stops.py::test_a_call_that_runs_over_a_tunnel_is_answered",
            "faults/test_proxy_stops.py::test_tunnels_that_nobody_uses_keep_no_proxy_from_stopping",
            "faults/test_proxy_stops.py::test_what_has_not_ended_within_drain_timeout_is_cut",
            "faults/test_proxy_stops.py::test_the_connections_of_tls_clients_go_on_until_they_end",
            "faults/test_proxy_stops.py::test_but_not_for_longer_than_drain_timeout",
            "proxy/test_lame_duck.py::test_who_does_not_renew_is_let_alone",
            POOL + "test_an_unknown_outcome_is_never_repeated",
        ),
    ),
    Fault(
        "A program starts before those that it needs, in any order",
        "All find each other: within 5 s of the last one, on a machine that has time for it",
        (PROGRAMS + "test_any_order_of_starting", PROGRAMS + "test_a_piece_that_comes_last"),
    ),
    Fault(
        "Settings, certificates or keys are changed for bad ones while a program runs",
        "They are refused, and said; it goes on with those that it has",
        (
            "faults/test_reload.py::test_a_certificate_without_its_key_is_refused_until_the_key_is_there",
            "faults/test_reload.py::test_settings_change_while_it_runs",
            "faults/test_reload.py::test_hanging_up_ends_no_program",
        ),
    ),
)

LINK_FAULTS = (
    Fault(
        "A link loses every packet, and nobody is told (a tunnel's leg, a direct connection, a held stream)",
        "From 6 s on, calls fail as not sent; only those made before may be unknown. 1 s after a cut of 90 s all "
        "calls are answered; after a shorter one, within 6 s, since whoever holds a stream asks on it every 5 s",
        (LINKS,),
    ),
    Fault(
        "A link loses some packets of a connection on which nothing is said",
        "It stands, unless four questions in a row are lost; silence and a dead link are noticed after 35 s, unless "
        "`keepalive` says otherwise",
        (
            SILENT + "test_three_lost_questions_end_no_silent_connection",
            SILENT + "test_a_silent_connection_ends_with_its_link",
        ),
    ),
    Fault(
        "A program behind a proxy reads nothing for a while, such as a paused download",
        "Its connection stands for 15 minutes and goes on where it was, unless a public proxy without a free place "
        "needs that one. Reading a little begins another 15 minutes; an hour without a byte either way ends any",
        (
            SILENT + "test_a_paused_download_goes_on_where_it_was",
            "transport/test_readers.py::test_a_relays_side_may_pause_for_longer_than_a_dead_link_is_given",
            "transport/test_readers.py::test_whoever_reads_a_little_begins_another_pause",
            "transport/test_readers.py::test_nobody_is_spared_for_ever",
        ),
    ),
    Fault(
        "A peer says nothing any more, though the link lives",
        "After 4 s new calls take a second connection. What the first had taken is unknown after 5 s where the "
        "second one came up, or where nothing of ours is confirmed; after 15 s where the peer may be slow only, as "
        "through a tunnel whose far leg is dead while no other can be made",
        (
            "grpc/test_pulse.py::test_doubt_comes_first_and_death_when_the_way_is_dead_or_the_peer_too_slow",
            "grpc/test_pair.py::test_who_says_nothing_any_more_is_doubted_then_cut",
            POOL + "test_new_calls_take_a_second_connection_while_it_is_in_doubt_who_is_there",
            POOL + "test_in_doubt_and_without_a_second_connection_calls_are_not_sent",
        ),
    ),
    Fault(
        "A peer is slow: it answers late, but its server runs",
        "Nothing is cut: a ping is answered while the call waits, and the call ends with its own deadline, as unknown",
        (
            "grpc/test_pair.py::test_a_call_that_waits_for_a_living_peer_is_not_in_doubt",
            CONNECTION + "test_no_answer_in_time_is_an_unknown_outcome_and_the_stream_is_reset",
            "channels/test_held_streams.py::test_to_a_server_of_ours_a_slow_call_delays_no_other",
        ),
    ),
    Fault(
        "A direct line is narrow (64 kB/s), and large calls fill it",
        "Small calls beside them take less than 3 s",
        ("faults/test_narrow_links.py::test_small_calls_pass_large_ones_on_a_narrow_line",),
    ),
    Fault(
        "The same on a line behind a relay: its far leg is narrow, or the proxy's own line",
        "Nine of ten small calls beside them take less than 3 s where both ends are ours (the others wait for "
        "packets that the line has lost): whoever sends much asks what has arrived, and lets no more be on its way "
        "than arrives within a second",
        (
            "grpc/test_pace.py::test_on_a_narrow_line_no_more_waits_than_is_bearable",
            "grpc/test_pace.py::test_large_messages_wait_for_what_arrives_and_small_ones_pass_them",
            "faults/test_narrow_links.py::test_small_calls_pass_large_ones_on_a_narrow_line_behind_a_relay",
        ),
    ),
    Fault(
        "A line is far (250 ms there and back), or loses packets (one in fifty)",
        "A relay is about as quick as the line, and calls take longer: none fails",
        (
            "faults/test_far_lines.py::test_a_relay_is_about_as_quick_as_a_far_line",
            "faults/test_far_lines.py::test_calls_over_a_far_line_that_loses_packets",
        ),
    ),
    Fault(
        "A connection is reset, or ends in the middle of calls",
        "Those that were sent are unknown, at once; new ones take a new connection",
        (
            CONNECTION + "test_a_lost_connection_is_an_unknown_outcome",
            "grpc/test_pair.py::test_a_lost_connection_fails_every_call_at_once",
            CONNECTION + "test_an_end_that_the_event_loop_has_not_seen_is_noticed_before_anything_is_sent",
            POOL + "test_a_dropped_connection_costs_the_next_call_nothing",
        ),
    ),
    Fault(
        "A side of a relayed connection is reset",
        "The other is reset, too, behind the last byte that came before; one that reads nothing for 5 s is reset "
        "without it",
        (
            "faults/test_resets.py::test_a_reset_passes_both_proxies_behind_the_last_byte",
            SPLICE + "test_no_byte_before_a_reset_is_lost_on_a_slow_reader",
            SPLICE + "test_a_healthy_side_that_does_not_read_is_reset_in_the_end",
        ),
    ),
    Fault(
        "One of several public proxies of one operator is killed under load, or stopped",
        "Calls go on by another one; only the outcome of those that ran through a killed one is unknown",
        (
            "faults/test_several_public_proxies.py::test_one_of_two_goes_under_load",
            "jsonrpc/test_spread.py::test_one_that_is_down_is_passed_over_told_once_and_tried_again_later",
        ),
    ),
    Fault(
        "With two service directories, two public proxies and two EPS servers of one operator on one Redis, under 100 "
        "calls a second: any one process is killed, Redis included, or all are restarted one after another",
        "Of a kill only what was in flight is unknown; what is called later is answered. Of a restart nothing fails",
        (
            "faults/test_scaled.py::test_any_one_of_them_may_be_killed",
            "faults/test_scaled.py::test_all_are_restarted_one_after_another_and_no_call_fails",
        ),
    ),
    Fault(
        "The first of an operator's several proxies dies under load, refuses, or is silent",
        "Calls go on by the next one; only the outcome of those that ran through it is unknown",
        (
            "integration/test_several_proxies.py::test_calls_go_on_by_the_second_when_the_first_dies_under_load",
            "integration/test_several_proxies.py::test_a_first_that_refuses_is_passed_over",
            "integration/test_several_proxies.py::test_a_first_that_is_silent_costs_little",
        ),
    ),
    Fault(
        "A proxy cuts its tunnels at an age of its own, as those in use do",
        "That is learned from two such cuts, never from crashes, and a new tunnel stands before the old one is "
        "given up",
        (
            "core/test_lifetime.py::test_two_cuts_teach_and_the_last_second_is_avoided",
            POOL + "test_a_peer_that_was_restarted_teaches_nothing",
            POOL + "test_a_tunnel_in_its_doubtful_age_is_used_as_long_as_the_next_does_not_stand",
        ),
    ),
    Fault(
        "Of a name's addresses, some are dead or silent",
        "The next one is tried, without waiting for the deadline of the first",
        (
            "transport/test_race.py::test_a_silent_address_does_not_hold_up_the_next",
            "transport/test_race.py::test_a_failing_address_is_followed_at_once",
        ),
    ),
    Fault(
        "An operator moves to another address, or behind a proxy",
        "No call fails: the former connection is used until one along the new way stands, and running calls end on it, "
        "as long as its certificate is pinned. A tunnel that our directory contradicts makes us ask for a newer one "
        "first",
        (
            "faults/test_direction.py::test_no_call_is_lost_while_a_server_goes_behind_a_proxy_and_back",
            POOL + "test_a_connection_is_used_until_one_along_the_new_route_stands",
            POOL + "test_a_new_address_drains_a_lost_pin_cuts",
            POOL + "test_a_route_that_changes_while_opening_is_opened_anew",
            "broker/test_broker.py::test_a_tunnel_that_our_directory_contradicts_makes_us_ask_for_a_newer_one",
            "broker/test_broker.py::test_news_that_come_a_moment_late_are_waited_for",
        ),
    ),
)

NEIGHBOUR_FAULTS = (
    Fault(
        "A peer never reads: answers, requests, what a relay forwards",
        "It is cut, or its sender has to wait; memory is bounded, and others don't notice",
        (
            SERVER + "test_a_client_that_does_not_read_is_cut_and_held_in_bounded_memory",
            SERVER + "test_an_answer_that_is_never_read_is_dropped_at_a_deadline",
            CONNECTION + "test_a_peer_that_does_not_read_costs_no_more_than_its_buffers",
            "channels/test_held_streams.py::test_a_server_that_reads_no_answers_is_asked_to_wait",
            "jsonrpc/test_server.py::test_an_answer_that_nobody_reads_is_given_up",
            SPLICE + "test_a_frozen_reader_stops_its_sender_and_costs_bounded_memory",
        ),
    ),
    Fault(
        "Strangers ask for downloads behind a proxy, live, and read nothing",
        "Each has 15 minutes. When a public proxy has no free place, the one that has read nothing for longest gives "
        "way to a newcomer; what a proxy's closed sockets have yet to send is given up as to a dead peer",
        (
            "transport/test_readers.py::test_nobody_is_spared_for_ever",
            "proxy/test_public.py::test_of_those_that_read_nothing_the_longest_gives_way_where_places_are_scarce",
            "transport/test_readers.py::test_no_relay_leaves_a_spared_socket_behind",
            "transport/test_readers.py::test_no_channel_leaves_a_spared_socket_behind",
        ),
    ),
    Fault(
        "Strangers open thousands of connections and say nothing",
        "Honest calls beside them are all answered; on a machine that has time for it each within 1 s",
        (
            "faults/test_floods.py::test_an_honest_client_beside_silent_connections",
            "faults/test_floods.py::test_ten_thousand_silent_connections",
        ),
    ),
    Fault(
        "Somebody attacks a port again and again: HTTP/2 floods, large calls that are refused, handshakes, what fills "
        "logs; bombs at the service directory",
        "Honest calls beside it are all answered; on a machine that has time for it 99 of 100 within 250 ms",
        ("faults/test_floods.py::test_honest_calls_beside_an_attack",),
    ),
    Fault(
        "An application is asked for more than it can do",
        "Calls beyond it are refused as busy, not sent, with a hint when to try again: half of them within 100 ms. "
        "Nine of ten accepted ones stay within twice the time that they need at ease, or within a tenth of a second "
        "where that is more, and 10 s later all is well. Eight are given to it in any case: with one or two workers, "
        "half of the accepted take three times as long as at ease",
        (
            "faults/test_overload.py::test_calls_beyond_the_limit_are_refused_and_never_run",
            "faults/test_overload.py::test_three_times_the_capacity",
            "core/test_overload.py::test_accepted_calls_of_a_quick_application_take_a_tenth_of_a_second_at_the_most",
            "core/test_overload.py::test_few_workers_get_no_less_than_the_floor",
            "channels/test_turns.py::test_a_call_that_is_given_up_while_it_waits_never_begins",
            "jsonrpc/test_server.py::test_calls_beyond_the_limit_are_busy_and_never_begin",
        ),
    ),
    Fault(
        "A hundred callers come at once to an application that answers quickly",
        "None is refused: those wait for a moment whom it will have answered within a tenth of a second",
        ("core/test_overload.py::test_many_callers_of_a_fast_application_are_all_answered",),
    ),
    Fault(
        "A caller gives up before its call is sent",
        "The call is not begun: not by the application that would have it at once, and not by the server that holds it",
        (
            "broker/test_broker.py::test_a_held_call_whose_caller_goes_is_not_tried_again",
            "grpc/test_pair.py::test_a_call_that_nobody_waits_for_any_more_is_not_sent",
            "jsonrpc/test_server.py::test_a_call_whose_client_has_gone_is_not_begun",
        ),
    ),
    Fault(
        "An application is down, hangs up, or answers nothing",
        "Its calls are not sent where it could not be reached, and unknown where it had them; each ends with its "
        "deadline",
        (
            "channels/test_jsonrpc_client.py::test_an_application_that_is_down_is_a_delivery_error",
            "jsonrpc/test_client.py::test_a_reset_after_sending_is_an_unknown_outcome",
            "jsonrpc/test_client.py::test_no_answer_in_time_is_an_unknown_outcome",
        ),
    ),
    Fault(
        "The callee dies in the middle of a call",
        "The call has run once at most, and its caller is told that it may have",
        (HOSTILE + "test_a_callee_that_dies_in_the_middle_has_run_the_call_once_and_the_caller_knows_that_it_may",),
    ),
    Fault(
        "A log that nobody reads, or on a full disk",
        "No call notices; lines that are lost are counted, and said where they are missing",
        (
            "integration/test_log_readers.py::test_a_log_that_nobody_reads_holds_up_no_call",
            "integration/test_log_readers.py::test_a_full_disk_under_the_log_holds_up_no_call",
            QUEUE + "test_what_is_lost_is_told_where_it_is_missing",
            QUEUE + "test_a_reader_that_is_gone_changes_nothing",
        ),
    ),
    Fault(
        "A running server may open no more files (EMFILE)",
        "Calls on connections that stand are answered; new connections wait. When there are files again it goes on, "
        "and keeps nothing of it",
        (
            "faults/test_few_files.py::test_a_server_that_may_open_no_more_files",
            "transport/test_listener.py::test_accept_pauses_and_goes_on",
            "transport/test_listener.py::test_real_exhaustion_of_descriptors_on_uvloop",
        ),
    ),
    Fault(
        "A program works for long",
        "Files and tasks stay as they were, and memory within some MiB",
        (
            "soak/test_processes.py::test_twenty_thousand_relayed_pings",
            "soak/test_in_one_process.py::test_five_hundred_tunnels",
            "soak/test_two_thousand_tunnels.py::test_two_thousand_tunnels_and_three_hundred_calls_a_second",
        ),
    ),
    Fault(
        "Programs have nothing to do",
        "Each holds less than 64 MiB",
        ("faults/test_memory.py::test_idle_programs_hold_little",),
    ),
)

DIRECTORY_FAULTS = (
    Fault(
        "The service directory is killed, frozen, stopped or away for long",
        "No call fails: servers go by what they last verified, also when they start anew. With `maximum_age` and "
        "refusing, not beyond that age",
        (
            STRUCK + "test_a_program_is_struck_under_load",
            STRUCK + "test_a_program_is_frozen_until_it_is_given_up",
            PROGRAMS + "test_the_directory_while_all_run",
            API + "test_what_was_verified_is_served_from_the_cache_while_the_service_directory_is_down",
            API + "test_a_directory_that_is_too_old_is_not_used_until_it_is_confirmed",
        ),
    ),
    Fault(
        "It is late, hangs, or one of several endpoints does",
        "A question ends with its deadline; the next endpoint is asked meanwhile",
        (
            API + "test_an_endpoint_that_never_answers_costs_its_deadline",
            API + "test_the_second_endpoint_is_asked_if_the_first_is_silent",
            API + "test_the_second_endpoint_is_asked_if_the_first_is_down",
            API + "test_a_refresh_is_bounded",
        ),
    ),
    Fault(
        "It shows an older, emptied or other directory",
        "That is refused and said, and what was verified stays in use",
        (
            API + "test_a_shorter_chain_is_refused",
            API + "test_a_directory_that_was_emptied_is_refused",
            "directory/test_high_water.py::test_an_older_copy_is_noticed_and_takes_no_submissions",
        ),
    ),
    Fault(
        "A certificate is rotated under load, its successor's pin beside its own",
        "No call fails; one whose pin is not there yet waits for it",
        (
            "faults/test_reload.py::test_no_call_fails_while_a_certificate_is_rotated",
            "faults/test_reload.py::test_a_certificate_that_is_not_pinned_yet_waits_for_its_pin",
        ),
    ),
    Fault(
        "A certificate is revoked: its pin is withdrawn",
        "As soon as a server follows that, its connections are cut, and what crosses it is refused",
        (
            HOSTILE + "test_a_name_whose_pin_is_withdrawn_is_lost_at_once_on_connections_that_have_others",
            SERVER + "test_a_pin_that_is_withdrawn_while_the_connection_comes_up_counts",
            "attacks/test_jsonrpc_callers.py::test_a_certificate_that_is_revoked_is_refused_on_the_connection_that_it_has",
        ),
    ),
    Fault(
        "A certificate expires",
        "New connections are refused, with the reason, and calls are not sent; other links of a chain may be "
        "expired where another path holds. That connections end that stand already is not promised: withdraw the "
        "pin",
        (
            CONNECTION + "test_an_unknown_authority_and_an_expired_certificate",
            "transport/test_tls.py::test_one_expired_authority_among_good_ones_is_fine",
            "core/test_certificate.py::test_only_the_leafs_dates_are_fatal",
        ),
    ),
    Fault(
        "The clock steps, by ten years back or ahead",
        "Deadlines don't notice, since they go by another clock. What a server verified stays in use, and news are "
        "followed, except a new root dated in the future; a service directory takes no record dated in its future. "
        "With a wrong clock TLS may refuse new connections, and announcements of TLS passthrough end early or late: "
        "that is not promised otherwise",
        (
            API + "test_a_clock_that_steps_loses_nothing_that_was_verified",
            API + "test_a_refused_chain_is_tried_again_after_a_while",
            "directory/test_service.py::test_a_record_from_the_future_is_refused",
            "directory/test_confirmed.py::test_its_age_is_told_and_outlives_a_restart",
            REDIS + "test_a_change_that_comes_too_late_by_the_server_s_clock_is_sent_again",
        ),
    ),
)

DISK_FAULTS = (
    Fault(
        "A program is killed amid writing",
        "What was acknowledged is there when it starts again",
        (
            SQLITE + "test_an_acknowledged_entry_survives_a_killed_process",
            FILE + "test_an_acknowledged_entry_is_on_disk",
            REDIS + "test_an_acknowledged_entry_survives_killed_programs",
            "datastores/test_state_file.py::test_a_write_that_fails_leaves_the_old_one",
        ),
    ),
    Fault(
        "The disk is full, at a start or while a program runs",
        "A start says so, exit code 1, and may be tried again; what can't be stored is refused, and what is stored "
        "stays. An EPS server goes on without",
        (
            FULL + "test_whatever_room_is_left_a_store_opens_or_says_full",
            FULL + "test_a_disk_that_can_hold_no_more_files_is_full_too",
            FULL + "test_a_program_says_full_and_may_be_started_again",
            FULL + "test_an_eps_server_needs_no_room",
            FULL + "test_a_log_file_for_which_there_is_no_room",
            "directory/test_service.py::test_a_failed_write_is_told_and_leaves_the_chain",
            FILE + "test_a_write_that_fails_leaves_nothing",
            REDIS + "test_a_full_server_says_so_and_stores_nothing",
        ),
    ),
    Fault(
        "Bits of a store turn over, its end is lost, or a sector",
        "Nobody is served a record that was not submitted: the service directory refuses to start and says why, or "
        "serves all of it, or an earlier state",
        (
            DAMAGED + "test_damaged_files_show_nothing_that_was_not_submitted",
            "directory/test_service.py::test_a_store_that_does_not_verify_stops_the_start",
            FILE + "test_a_torn_end_is_named_and_set_aside",
            FILE + "test_a_damaged_file_is_refused_and_untouched",
        ),
    ),
    Fault(
        "The write-ahead log of a store is lost, or a copy from before is put back",
        "The service directory serves an earlier state, says that it is one, and takes no submissions until what is "
        "lost is back",
        (
            DAMAGED + "test_without_its_write_ahead_log_a_store_is_an_earlier_one",
            "directory/test_high_water.py::test_an_older_copy_is_noticed_and_takes_no_submissions",
            "directory/test_high_water.py::test_the_lost_records_heal_it",
            "integration/test_howto_recover_directory.py::test_an_older_copy_is_noticed_and_made_whole",
        ),
    ),
    Fault(
        "An EPS server's copy of the directory can't be read, written, or believed",
        "It is asked for anew, and told; calls go on",
        (
            API + "test_a_cache_that_can_t_be_believed_is_replaced",
            API + "test_a_cache_that_can_t_be_written_is_done_without",
            "directory/test_cache.py::test_what_could_not_be_written_is_written_as_soon_as_it_can_be",
        ),
    ),
    Fault(
        "Redis is away, frozen, restarted, flushed, or its master changes",
        "Nobody waits long. A change is stored once, or refused; what a failover has lost is said",
        (
            REDIS + "test_a_change_waits_for_a_server_that_restarts",
            REDIS + "test_a_change_is_refused_clearly_when_the_server_stays_away",
            REDIS + "test_a_frozen_server_holds_up_nobody_for_long",
            REDIS + "test_a_change_whose_answer_was_lost_is_not_made_twice",
            "datastores/test_redis_failover.py::test_what_a_failover_has_lost_is_said",
            "integration/test_programs_stores.py::test_a_directory_whose_redis_is_away",
            "integration/test_programs_stores.py::test_a_directory_whose_redis_is_flushed_and_restored",
        ),
    ),
    Fault(
        "One of several service directories on one Redis is killed, or Redis forgets what they stored",
        "Servers and commands go on with another one. What is known is served, and nothing stored on top of less",
        (
            "integration/test_programs_stores.py::test_two_directories_on_one_redis",
            "directory/test_shared_store.py::test_two_hundred_appends_from_each_at_once",
            "directory/test_shared_store.py::test_a_store_that_has_lost_records_is_told_and_nothing_is_stored_on_top",
            "datastores/test_redis_failover.py::test_a_change_waits_for_the_replica_that_is_to_have_it",
        ),
    ),
    Fault(
        "A proxy's store of announcements fails",
        "What was announced is found in memory; it is written when it can be",
        (
            "proxy/test_announcements.py::test_while_the_store_fails_memory_goes_on",
            "proxy/test_announcements.py::test_nobody_waits_long_for_a_store_that_is_locked",
        ),
    ),
)

GROUPS = {
    "Programs that end, stop or start": PROGRAM_FAULTS,
    "Links": LINK_FAULTS,
    "Neighbours that are slow, full or gone": NEIGHBOUR_FAULTS,
    "The directory, certificates and clocks": DIRECTORY_FAULTS,
    "Disks and stores": DISK_FAULTS,
}
