"""The attacks that were tried, one line each: what docs/reference-security.md prints."""

from support.attacks.audit import ATTACKS as AUDIT
from support.attacks.kinds import Attack

NOTHING = "–"
"""For attacks that leave no trace of their own: what comes is as if nobody had tried."""

HOSTILE = "integration/test_hostile_peers.py::"
TUNNELS = (
    Attack(
        "A relay leads to a server with another certificate of the same authority",
        "the TLS handshake ends before a byte of a call",
        "`call`: stage `tls`, not sent, with the pin that doesn't fit",
        (
            "attacks/test_relay_replaced.py::test_whoever_answers_behind_a_relay_is_found_out",
            "grpc/test_connection.py::test_nothing_is_written_to_a_peer_whose_pin_does_not_fit",
        ),
    ),
    Attack(
        "A relay leads to another operator of the network, properly pinned",
        "the same",
        "`call`: stage `tls`, not sent, with the name that the certificate is pinned for",
        (
            "attacks/test_relay_replaced.py::test_whoever_answers_behind_a_relay_is_found_out",
            HOSTILE + "test_a_proxy_that_joins_us_to_another_operator_is_found_out_before_anything_is_sent",
            "grpc/test_connection.py::test_another_operators_certificate_is_refused_though_pinned",
        ),
    ),
    Attack(
        "A relay leads to a server whose certificate has the right name, and no pin",
        "the same",
        "`call`: stage `tls`, not sent, with the pin that doesn't fit",
        (
            "attacks/test_relay_replaced.py::test_whoever_answers_behind_a_relay_is_found_out",
            "grpc/test_connection.py::test_a_certificate_that_is_not_pinned_is_refused",
        ),
    ),
    Attack(
        "A relay hangs up, sends garbage, or says nothing",
        "the call fails, and the next one asks anew",
        "`call`: stage `tls`, not sent",
        (HOSTILE + "test_relays_that_lead_nowhere",),
    ),
    Attack(
        "A token is shown again",
        "the connection is closed",
        "`refused`: `token`, and `tunnel`: `refused_token`",
        ("proxy/test_public.py::test_a_token_is_good_for_one_connection",),
    ),
    Attack(
        "Tokens are guessed",
        "connections are closed, with no word whether a guess was near",
        "`refused`: `token`, at most one line a second",
        (
            "proxy/test_public.py::test_an_unknown_token_is_closed",
            "proxy/test_public.py::test_a_flood_of_strangers_does_not_fill_the_log",
        ),
    ),
    Attack(
        "One side shows its token twice, to be both sides",
        "the second connection is closed",
        "`refused`: `token`",
        (
            "core/test_rendezvous.py::test_a_token_admits_one_side_once",
            "core/test_rendezvous.py::test_each_side_gets_its_own_token",
        ),
    ),
    Attack(
        "A token is shown late",
        "the connection is closed",
        "`refused`: `token`; the wait itself ended as `unused` or `lonely_…`",
        (
            "core/test_rendezvous.py::test_a_token_is_dead_when_its_time_is_up_though_nobody_cleared_it",
            "proxy/test_public.py::test_each_offer_expires_in_its_time",
        ),
    ),
    Attack(
        "Forty connections show one token at the same time",
        "one is kept, the others are closed",
        "`refused`: `token`",
        ("attacks/test_tokens.py::test_of_many_who_race_with_one_token_one_is_joined",),
    ),
    Attack(
        "A proxy names one of 40 relay endpoints inside our network, in every spelling",
        "nothing is dialled",
        "`call`: stage `relay`, not sent, with the reason",
        (
            "attacks/test_relay_endpoints.py::test_forty_endpoints_that_no_proxy_may_name",
            "attacks/test_relay_endpoints.py::test_where_a_list_is_given_nothing_else_is_dialled",
            HOSTILE + "test_offers_that_are_none_are_refused",
            "core/test_endpoint.py::test_an_ipv4_address_is_judged_alike_in_every_wrapping",
            "transport/test_dial.py::test_only_judged_addresses_are_dialled",
        ),
    ),
    Attack(
        "A proxy asks for tunnels without end",
        "beyond 1,024 under way: code 500",
        "`call`: stage `relay`",
        (HOSTILE + "test_a_proxy_that_asks_without_end_does_not_take_all_our_files",),
    ),
    Attack(
        "Somebody who is not our proxy asks for a tunnel",
        "code 403",
        "`call`: code 403",
        (
            "broker/test_broker.py::test_nobody_else_may",
            "integration/test_foreign_tunnels.py::test_only_our_proxy_may_ask_ours_for_a_tunnel",
        ),
    ),
    Attack(
        "Connections to a relay or a TLS port that stay silent",
        "the oldest is closed for the newest",
        "`refused`: `no_token` or `too_slow`, at level `debug`",
        (
            "proxy/test_public.py::test_silent_connections_give_way_to_new_ones",
            "proxy/test_passthrough.py::test_silent_clients_give_way_to_new_ones",
        ),
    ),
    Attack(
        "Thousands of connections to a gRPC or JSON-RPC port: silent, with half a ClientHello, or without a request",
        "beyond 1,000 the oldest of the source with the most is closed for the newest",
        "`refused`: `silent`",
        (
            "grpc/test_server.py::test_who_asks_for_nothing_gives_way_to_new_ones",
            "grpc/test_server.py::test_half_a_first_frame_is_no_request",
            "jsonrpc/test_server.py::test_who_asks_for_nothing_gives_way_to_new_ones",
            "transport/test_incoming.py::test_half_a_hello_begins_no_handshake",
            "transport/test_incoming.py::test_while_many_are_silent_who_only_says_hello_is_asked_for_another",
            "faults/test_floods.py::test_an_honest_client_beside_silent_connections",
        ),
    ),
)

CALLS = (
    Attack(
        "A certificate of the right authority that the directory doesn't pin",
        "the connection ends after TLS, before a word",
        "`refused`: `pin`",
        (
            HOSTILE + "test_a_stranger_with_a_certificate_of_the_network_gets_no_word_in",
            "grpc/test_server.py::test_a_client_whose_certificate_is_not_pinned_is_refused_before_a_word",
        ),
    ),
    Attack(
        "A certificate whose pin is withdrawn while its connection is up",
        "the connection is cut; what crosses that gets code 404",
        "`peer`: down",
        (
            HOSTILE + "test_a_name_whose_pin_is_withdrawn_is_lost_at_once_on_connections_that_have_others",
            "grpc/test_server.py::test_a_pin_that_is_withdrawn_while_the_connection_comes_up_counts",
        ),
    ),
    Attack(
        "`clientName` names another operator",
        "code 404",
        "`call`: code 404",
        (HOSTILE + "test_nobody_sends_in_the_name_of_another",),
    ),
    Attack(
        "A stream is opened under another operator's name",
        "the stream ends",
        "`refused`: `stream`",
        (
            "channels/test_connected.py::test_a_name_that_the_certificate_lacks_is_refused",
            "integration/test_foreign_streams.py::"
            "test_a_stream_under_a_name_that_the_certificate_lacks_ends_but_not_with_ok",
        ),
    ),
    Attack(
        "`_client` is put into the params",
        "the call passes; the service gets what the directory says of the caller",
        NOTHING,
        (HOSTILE + "test_the_client_that_a_caller_puts_into_its_params_is_replaced",),
    ),
    Attack(
        "Id and method differ; methods with dots, parentheses, newlines, 8 KiB",
        "code 1, 403 or -32600",
        "`call`, where there is an address at all",
        (
            HOSTILE + "test_addresses_that_do_not_fit_reach_no_application",
            "grpc/test_codec.py::test_the_method_must_repeat_the_ids",
            "channels/test_jsonrpc_server.py::test_parentheses_move_no_boundary",
        ),
    ),
    Attack(
        "A call that is meant for another operator",
        "code 403",
        "`call`: code 403",
        ("broker/test_broker.py::test_nobody_relays_through_us",),
    ),
    Attack(
        "A call without the right",
        "code 403, with the group that is needed",
        "`call`: code 403; of one caller at most one warning a second",
        (
            "broker/test_broker.py::test_a_caller_without_the_right_is_refused_with_the_reason",
            "broker/test_broker.py::test_a_peer_that_is_refused_again_and_again_does_not_fill_the_log",
        ),
    ),
    Attack(
        "Calls of 4 MiB without the right, which would take a second to be read",
        "code 403; the params are not read, and others are served meanwhile",
        "`call`: code 403",
        (
            "broker/test_broker.py::test_params_are_read_only_once_the_sender_is_known_to_have_the_right",
            HOSTILE + "test_a_large_call_that_is_refused_costs_the_loop_nothing",
        ),
    ),
    Attack(
        "An application answers with words of a server: that a call was never begun, so that it is sent again",
        "the key that says whose server made an error is taken out of what applications say, however deep it is "
        "wrapped; of servers in use it is not believed",
        "`call`: as any error of that application",
        (
            "channels/test_jsonrpc_client.py::test_nor_below_what_is_unwrapped_on_the_way",
            "channels/test_peers.py::test_who_speaks_as_a_server",
            "channels/test_grpc_server.py::test_behind_a_server_in_use_only_an_application_can_have_said_so",
            "broker/test_broker.py::test_an_application_cannot_pass_for_the_network",
        ),
    ),
    Attack(
        "Calls that make an application fail, to learn where it is and what it says",
        "that it failed, and nothing of the answer or of an internal URL",
        "`call`, with the URL, in our own log alone",
        (
            "attacks/test_what_crosses.py::test_an_application_s_words_and_place_stay_where_they_are",
            "attacks/test_what_crosses.py::test_an_application_s_errors_are_in_no_log_above_debug",
            "jsonrpc/test_client.py::test_where_an_endpoint_is_can_be_kept_from_messages",
        ),
    ),
    Attack(
        "Records of hundreds of thousands of values, of a service directory or to one",
        "they are read and judged like others; everybody else is served meanwhile",
        "`directory` or `directory_failed`, as of any records",
        ("directory/test_slices.py::test_large_records_hold_nobody_up",),
    ),
    Attack(
        "Submissions while a store fails, to learn where it is",
        "that the datastore can't be used",
        "`notice`, with the path, in the service directory's own log alone",
        ("attacks/test_what_crosses.py::test_a_store_s_place_is_told_to_nobody_who_submits",),
    ),
    Attack(
        "Another caller's request id is used, or one that was given up",
        "both calls get their own answers: ids that are in flight or in doubt are replaced",
        NOTHING,
        (
            "broker/test_broker.py::test_two_calls_with_one_id_both_succeed_under_different_ids",
            "broker/test_broker.py::test_the_id_of_a_call_that_was_given_up_is_not_used_again",
            "integration/test_foreign_streams.py::"
            "test_a_late_answer_is_not_taken_for_that_of_the_next_call_with_the_same_id",
        ),
    ),
    Attack(
        "An answer that JSON can't express, or that is too long",
        "its caller gets an error that says that the call was executed",
        "`call`, with the outcome",
        (
            HOSTILE + "test_an_answer_that_json_cannot_express_was_executed",
            HOSTILE + "test_a_result_that_cannot_travel_does_not_say_that_the_call_was_not_sent",
        ),
    ),
    Attack(
        "A certificate that is not among `allowed_names` calls a JSON-RPC port",
        "code 403",
        "`refused`: `name`, with the fingerprint",
        ("jsonrpc/test_server.py::test_only_allowed_names_may_call",),
    ),
    Attack(
        "A certificate of an operator's name that the directory doesn't pin for connections (another one of the "
        "authority, the signing one, a revoked one) calls a JSON-RPC port of an EPS server or proxy",
        "code 403",
        "`refused`: `pin`, with the fingerprint and the record that would pin it",
        (
            "attacks/test_jsonrpc_callers.py::test_only_a_certificate_that_the_directory_pins_acts_as_its_operator",
            "attacks/test_jsonrpc_callers.py::test_a_proxy_asks_its_eps_server_whom_the_directory_pins",
            "core/test_callers.py::test_a_name_of_the_directory_counts_with_its_pin",
        ),
    ),
    Attack(
        "A certificate is revoked, and its holder goes on calling on a connection that is open",
        "code 403, from the next request on",
        "the same",
        (
            "attacks/test_jsonrpc_callers.py::"
            "test_a_certificate_that_is_revoked_is_refused_on_the_connection_that_it_has",
            "jsonrpc/test_callers.py::test_what_is_revoked_is_refused_on_the_same_connection",
        ),
    ),
    Attack(
        "The same, while a proxy can't ask its EPS server, or a directory is too old to be used",
        "code 403",
        "the same",
        (
            "proxy/test_callers.py::test_what_it_said_last_holds_while_it_can_not_be_asked",
            "directory/test_callers.py::test_one_that_must_not_be_used_still_says_whose_names_these_are",
        ),
    ),
    Attack(
        "A certificate of an operator's name calls a server that never had a directory",
        "what `allowed_names` say: with the operator's name among them, it is served",
        "`notice`: no directory was verified yet; once",
        (
            "attacks/test_jsonrpc_callers.py::"
            "test_while_no_directory_was_verified_names_alone_decide_and_the_log_says_so",
        ),
    ),
    Attack(
        "Words of peers that forge lines or colours of the log",
        "nothing",
        "the words, escaped, in one line",
        ("programs/running/test_logs.py::test_what_peers_send_forges_no_lines",),
    ),
)

RECORDS = (
    Attack(
        "An administrator who was removed signs on, with an old certificate",
        "refused: `eps directory remove` leaves a pin that no certificate can meet; an empty section would unpin her",
        "– (`submit-records` warns, or asks, where a pin for signing goes)",
        (
            "core/test_removal.py::test_an_empty_section_unpins_and_her_old_certificate_signs_again",
            "core/test_removal.py::test_a_pin_that_nobody_can_meet_ends_it",
            "programs/directory/test_commands.py::test_an_operator_is_removed",
        ),
    ),
    Attack(
        "A change slip is altered on its way to the administrator, or is of somebody else than it says",
        "it is not signed; without a signature, its code is not the one that the operator says on the telephone",
        "– (`eps directory check`, `sign` and `submit` say what is wrong)",
        (
            "programs/directory/test_commands.py::test_a_slip_that_was_altered",
            "programs/directory/test_slip.py::test_it_was_signed_by_somebody_else_than_it_says",
            "programs/directory/test_slip.py::test_for_others_only_an_administrator_proposes",
        ),
    ),
    Attack(
        "A record's data is moved into its name: same bytes, same hash, same signature",
        "`submitRecords`: refused; followers ask again, and keep what they have",
        "`directory_failed`, once for each reason",
        (
            "directory/test_api.py::test_a_forged_revocation_is_refused_and_asked_for_again",
            "core/test_verdict.py::test_forgeries_of_the_vectors",
            "core/test_reading.py::test_of_each_pair_the_honest_one_passes",
        ),
    ),
    Attack(
        "A method is hidden in another's parameters, a channel in another's settings",
        "the same",
        "`directory_failed`",
        (
            "core/test_reading.py::test_a_method_cannot_hide_in_anothers_parameters",
            "core/test_reading.py::test_a_channel_cannot_hide_in_anothers_settings",
        ),
    ),
    Attack(
        "A free-form setting is shown in another way: same bytes, same hash, same signature",
        "refused with its canonical signature, which doesn't fit, and, where that is demanded, without",
        "`directory_failed`; where it isn't demanded, a `notice` names the value, another says that signatures stop",
        (
            "attacks/test_canonical_signatures.py::test_a_setting_is_shown_in_another_way_to_running_servers",
            "directory/test_api.py::test_a_free_form_value_is_shown_in_another_way",
            "directory/test_api.py::test_who_stops_signing_canonically_is_told_once",
            "core/test_canonical_use.py::test_who_hands_a_record_on_can_show_no_second_reading_of_it",
        ),
    ),
    Attack(
        "A record without canonical signature gets in by an earlier date, behind others or as a new chain's root",
        "refused",
        "`directory_failed`",
        (
            "core/test_canonical_use.py::test_an_earlier_date_behind_such_a_record_is_no_way_out",
            "core/test_canonical_use.py::test_nor_is_a_new_chain",
            "core/test_canonical_use.py::test_it_is_one_over_the_place_in_the_chain_too",
        ),
    ),
    Attack(
        "A service directory drops canonical signatures",
        "who demands them signs nothing for it, and believes no record of then",
        "`notice` at the start, and when a record comes back without; `submit-records` says so",
        (
            "attacks/test_canonical_signatures.py::test_a_service_directory_of_another_make_drops_them_without_harm",
            "attacks/test_canonical_signatures.py::test_every_store_and_copy_keeps_them",
            "directory/test_api.py::test_an_endpoint_that_drops_canonical_signatures_is_told_at_the_start",
            "programs/admin/test_records.py::test_a_service_directory_that_drops_canonical_signatures_is_told_of",
        ),
    ),
    Attack(
        "A forged record is shown first, so that the honest one with its hash is taken for refused already",
        "the honest one is taken at once",
        "`directory_failed`, then `directory`",
        ("directory/test_api.py::test_the_honest_record_is_taken_at_once_though_a_forged_one_had_its_hash",),
    ),
    Attack(
        "`eps sd sign` is asked to sign what can be shown as a record",
        "the command refuses",
        NOTHING,
        (
            "core/test_signature.py::test_a_change_record_is_no_signed_object_of_another_kind",
            "programs/admin/test_records.py::test_sign_and_verify",
        ),
    ),
    Attack(
        "Records that are forged: by a stranger, another authority, or without the group",
        "`submitRecords`: -32603, nothing is stored",
        "`directory_failed` at followers",
        (
            "directory/test_service.py::test_a_forged_record_anywhere_refuses_the_whole_batch",
            "directory/test_api.py::test_a_stranger_s_chain_is_refused",
            "core/test_chain.py::test_signers_are_administrators_with_a_name",
            "core/test_signature.py::test_unfit_certificates_are_refused_with_the_reason",
        ),
    ),
    Attack(
        "An administrator's former certificate signs",
        "the same",
        "the same",
        ("core/test_chain.py::test_pins_hold_from_the_record_that_sets_them",),
    ),
    Attack(
        "A new root by a key that was rotated out and has expired, or by any other certificate with `sd-admin`",
        "refused; followers keep what they have",
        "`directory_failed`, with the hash with which it could be accepted by hand",
        (
            "core/test_chain.py::test_a_key_that_was_rotated_out_starts_no_new_chain",
            "core/test_chain.py::test_a_new_root_is_one_that_the_present_chain_vouches_for",
            "core/test_chain.py::test_a_root_is_accepted_by_hand_for_its_signer_only",
        ),
    ),
    Attack(
        "Records are altered, reordered, or left out",
        "the same",
        "the same",
        (
            "core/test_chain.py::test_content",
            "core/test_chain.py::test_links",
            "core/test_chain.py::test_a_record_without_its_parent_is_not_passed_over",
            "integration/test_foreign_directory.py::test_a_chain_with_a_missing_link_is_refused",
        ),
    ),
    Attack(
        "The directory is rolled back to an older state, or emptied",
        "followers keep what they have",
        "`directory_failed`",
        (
            "directory/test_api.py::test_a_shorter_chain_is_refused",
            "directory/test_api.py::test_an_older_root_is_refused",
            "directory/test_api.py::test_a_directory_that_was_emptied_is_refused",
        ),
    ),
    Attack(
        "The directory is forked behind a common root",
        "the same",
        "the same",
        (
            "core/test_chain.py::test_another_history_from_the_same_root_is_refused",
            "directory/test_api.py::test_another_tail_of_the_same_root_is_refused",
        ),
    ),
    Attack(
        "Roots or submitted records are dated in the future, to be the last for ever",
        "refused beyond five minutes",
        "`directory_failed`",
        (
            "core/test_chain.py::test_only_roots_in_a_chain_must_not_be_dated_ahead",
            "core/test_chain.py::test_dates_lie_at_most_five_minutes_ahead",
            "directory/test_service.py::test_a_record_from_the_future_is_refused",
        ),
    ),
    Attack(
        "A certificate that was revoked while the cache could not be written comes back with a restart",
        "it stays revoked: the cache is written whole as soon as it can be",
        "`notice`, when it can't be written and when it can again",
        ("directory/test_cache.py::test_what_could_not_be_written_is_written_as_soon_as_it_can_be",),
    ),
    Attack(
        "A service directory's store is set back, so that revocations are submitted to it and believed by nobody",
        "`submit-records` signs nothing; the service directory takes no submissions that no server would believe",
        "`notice` at every start: it is empty, shorter or another",
        (
            "directory/test_high_water.py::test_an_older_copy_is_noticed_and_takes_no_submissions",
            "directory/test_high_water.py::test_an_empty_store_is_noticed_and_can_be_begun_anew",
            "programs/admin/test_set_back.py::test_an_empty_or_older_one_is_refused",
            "programs/admin/test_set_back.py::test_a_fork_and_what_is_not_verified_are_refused",
        ),
    ),
    Attack(
        "A record whose reading takes for ever",
        "it has no reading, and is refused or of no use, within a second",
        NOTHING,
        (
            "core/test_reading.py::test_settings_that_programs_read_are_not_read_again_for_ever",
            "core/test_reading.py::test_no_way_is_gone_twice_and_none_for_ever",
        ),
    ),
    Attack(
        "A service directory that is frozen, or trickles its answer byte by byte",
        "it is asked no longer than its deadline; the next endpoint is asked",
        "`directory_failed`: did not answer within …",
        (
            "attacks/test_hostile_directory.py::test_what_a_hostile_service_directory_answers_with_costs_a_bounded_time",
            "directory/test_api.py::test_the_second_endpoint_is_asked_if_the_first_is_silent",
        ),
    ),
    Attack(
        "A service directory whose answer never ends, or is a bomb when unpacked",
        "it is cut at the limit; nothing is unpacked",
        "`directory_failed`: the limit, or not JSON",
        (
            "attacks/test_hostile_directory.py::test_what_a_hostile_service_directory_answers_with_costs_a_bounded_time",
            "directory/test_endpoints.py::test_an_answer_beyond_the_cap_is_refused",
        ),
    ),
    Attack(
        "A submission of 60 MiB that is many times as large in memory: `{},` and `{},` again",
        "-32602: more than 1,000,000 values; large ones are taken one at a time, and all others are answered meanwhile",
        NOTHING,
        ("attacks/test_large_submissions.py::test_a_body_takes_eight_times_its_size_at_most_and_gives_it_back",),
    ),
    Attack(
        "Submissions without end",
        "sixteen wait, further ones get -32603",
        NOTHING,
        ("directory/test_service.py::test_only_so_many_wait",),
    ),
)

WIRES = (
    Attack(
        "TLS below 1.2",
        "the end of the connection, with the alert that says why",
        "`refused`: `tls`",
        (
            "attacks/test_tls_versions.py::test_no_port_speaks_tls_below_1_2",
            "attacks/test_tls_versions.py::test_tls_1_2_is_spoken",
            "transport/test_tls.py::test_what_a_context_allows",
        ),
    ),
    Attack(
        "A TLS session is resumed, to carry an old certificate past a changed pin",
        "a full handshake; in TLS 1.2 OpenSSL may resume by session id for some minutes, and the certificate of that "
        "session is judged by the present pins",
        NOTHING,
        (
            "attacks/test_tls_versions.py::"
            "test_what_tls_1_2_resumes_by_its_id_brings_its_own_certificate_to_be_judged_anew",
            "attacks/test_tls_versions.py::test_no_session_is_resumed_though_the_client_asks",
            "transport/test_tls.py::test_no_session_is_resumed",
        ),
    ),
    Attack(
        "HTTP/2 floods: RST_STREAM, PING, SETTINGS, GOAWAY, PRIORITY, empty or tiny DATA, WINDOW_UPDATE, unknown ones",
        "GOAWAY with ENHANCE_YOUR_CALM",
        "`refused`: `guard`",
        (
            "grpc/test_server.py::test_a_flood_is_cut_with_enhance_your_calm",
            "grpc/test_guard.py::test_each_kind_is_limited_and_comes_free_again",
        ),
    ),
    Attack(
        "Strangers at the gRPC port, one connection after the other, to fill the log",
        "each connection ends",
        "`refused`: one line a second, which counts them",
        (HOSTILE + "test_strangers_at_the_grpc_port_get_a_line_a_second_that_counts_them",),
    ),
    Attack(
        "Rapid reset (CVE-2023-44487), endless CONTINUATION, headers that unpack to megabytes",
        "the connection ends, and others are served meanwhile",
        "`refused`: `guard`",
        (
            "grpc/test_server.py::test_rapid_reset_is_cut_and_stalls_nobody",
            "grpc/test_server.py::test_endless_continuations_are_cut",
            "grpc/test_server.py::test_a_header_list_that_unpacks_to_megabytes_is_cut",
        ),
    ),
    Attack(
        "Malformed HTTP/2 frames: what RFC 9113 forbids, clause by clause",
        "GOAWAY or RST_STREAM with the code that the RFC names; others are served meanwhile",
        "`refused`: `guard`, where the connection is cut by the count of frames",
        (
            "attacks/test_frames.py::test_what_rfc_9113_forbids_ends_the_connection",
            "attacks/test_frames.py::test_what_rfc_9113_forbids_ends_the_stream",
            "grpc/test_wire_fuzz.py::test_a_server_survives_every_client",
        ),
    ),
    Attack(
        "Messages over 4 MiB, compressed ones, ones that never end",
        "a gRPC status; the rest is not read",
        "`refused`: `message`",
        (
            "grpc/test_server.py::test_a_message_over_4_mib_is_refused_by_its_prefix_and_the_rest_is_not_wanted",
            "grpc/test_server.py::test_messages_that_are_none",
            "grpc/test_server.py::test_a_request_that_never_ends_is_answered_at_its_deadline",
        ),
    ),
    Attack(
        "A peer that reads no answers, or asks for more than memory holds",
        "RESOURCE_EXHAUSTED, then the end of its connection",
        "`refused`: `guard`",
        (
            "grpc/test_server.py::test_a_client_that_does_not_read_is_cut_and_held_in_bounded_memory",
            "grpc/test_server.py::test_answers_that_pile_up_unread_end_calls",
            "grpc/test_server.py::"
            "test_slow_calls_with_long_messages_delay_no_other_and_memory_is_counted_per_certificate",
        ),
    ),
    Attack(
        "A compressed JSON-RPC body, a bomb for instance",
        "code -32700: nothing is unpacked",
        NOTHING,
        (
            "attacks/test_compressed.py::test_a_compressed_body_is_not_unpacked",
            "jsonrpc/test_server.py::test_a_compressed_body_is_not_json",
        ),
    ),
    Attack(
        "An application's or internal server's compressed answer that is a bomb",
        "outcome unknown: it is unpacked slice by slice, up to the limit of answers",
        NOTHING,
        (
            "jsonrpc/test_answers.py::test_a_bomb_costs_no_more_than_the_limit",
            "core/test_packed.py::test_no_more_of_a_bomb_is_unpacked_than_allowed",
        ),
    ),
    Attack(
        "JSON-RPC bodies over the limit, in chunks without end, or byte by byte",
        "code 400 or -32600, then the end",
        NOTHING,
        (
            "jsonrpc/test_server.py::test_bodies_over_the_limit_are_refused",
            "jsonrpc/test_server.py::test_a_chunked_body_over_the_limit_that_comes_at_once",
            "jsonrpc/test_server.py::test_a_body_that_does_not_arrive_is_given_up",
        ),
    ),
    Attack(
        "JSON with keys twice, NaN, lone surrogates, 2^53 + 1, or nested without end",
        "code -32700 or -32600, with the path",
        NOTHING,
        ("core/test_jsonrpc_text.py::test_ambiguous_or_bottomless_json_is_refused",),
    ),
)

PASSTHROUGH = (
    Attack(
        "Requests that two servers may read differently: smuggling, 31 variants",
        "HTTP 400 and the end of the connection; nothing of what follows is read",
        NOTHING,
        (
            "attacks/test_smuggling.py::test_nothing_is_smuggled_past_the_private_proxy",
            "proxy/test_http_passing.py::test_requests_that_two_servers_may_read_differently_are_refused",
        ),
    ),
    Attack(
        "`Connection` names a field that the internal server decides by, such as Host or Cookie",
        "the request passes, with the field",
        NOTHING,
        ("proxy/test_http_passing.py::test_connection_names_nothing_that_is_for_both_ends",),
    ),
    Attack(
        "Fields that lie about who asks: Forwarded, Client-Cert, also with `_`",
        "the request passes, without them",
        NOTHING,
        (
            "proxy/test_http_forwarding.py::test_headers_of_one_connection_and_of_former_proxies_are_left_out",
            "proxy/test_http_passing.py::test_trailers_pass_but_those_that_lie",
        ),
    ),
    Attack(
        "What follows an answer is to be taken for the next one",
        "the answer, and no more",
        NOTHING,
        (
            "proxy/test_http_passing.py::test_answers_that_end_at_their_head",
            "proxy/test_http_passing.py::test_bytes_behind_an_answer_are_dropped",
        ),
    ),
    Attack(
        "CONNECT, or a WebSocket where there is none, to reach other servers",
        "HTTP 501, or the server's own answer",
        NOTHING,
        (
            "proxy/test_http_bodies.py::test_connect_is_refused",
            "proxy/test_http_websockets.py::"
            "test_nobody_talks_past_the_proxy_by_asking_for_a_websocket_where_there_is_none",
        ),
    ),
    Attack(
        "An operator announces another's domain, or one outside of its own",
        "409 or 403 in that domain's place",
        "`announced`: refused",
        (
            "core/test_announcement.py::test_the_first_to_announce_has_the_domain",
            "core/test_announcement.py::test_a_name_is_covered_by_the_labels_behind_its_first_ones_and_by_nothing_else",
            "proxy/test_announcements.py::test_many_that_announce_at_once_on_two_proxies_on_one_file",
        ),
    ),
    Attack(
        "A public proxy asks a private one to dial for domains that were never announced, or inside its network",
        "code 404, or nothing is dialled",
        "`tunnel`: `no_relay`",
        (
            "proxy/test_private.py::test_only_what_was_announced_to_that_proxy",
            "proxy/test_private.py::test_an_endpoint_that_may_not_be_dialled",
        ),
    ),
    Attack(
        "ClientHellos that are malformed, too long, or name two hosts",
        "the connection is closed",
        "`refused`: `malformed`, `too_long`, …: one line a second",
        (
            "core/test_clienthello.py::test_wrong_lengths_and_repetitions_are_malformed",
            "core/test_clienthello.py::test_a_hello_of_16_kib_is_read_and_a_longer_one_is_not",
            "proxy/test_passthrough.py::test_hellos_that_are_closed_are_counted_by_reason",
            "proxy/test_passthrough.py::test_a_flood_is_one_line_a_second_and_every_one_is_counted",
        ),
    ),
)

FILES = (
    Attack(
        "A web site has a browser on this machine read the status page, under a name of its own that leads to loopback",
        "HTTP 403; without that name its script may not read the answer",
        NOTHING,
        ("programs/status/test_server.py::test_a_web_site_under_a_name_of_its_own_reads_nothing",),
    ),
    Attack(
        "Another user of the machine reads a private key",
        "the key, if its file lets him",
        "`notice` at the start, and in `eps config check`: the file and its mode",
        (
            "transport/test_tls.py::test_a_private_key_that_others_may_read_is_a_warning",
            "programs/admin/test_check.py::test_a_signing_key_that_others_may_read_is_a_warning",
        ),
    ),
    Attack(
        "Somebody reads errors about settings, which take secrets from the environment",
        "nothing of what a variable holds: a text is shown as the file has it",
        NOTHING,
        ("settings/test_models.py::test_what_a_variable_holds_is_never_shown",),
    ),
    Attack(
        "Another user of the machine reads what a program keeps",
        "nothing: folders are 0700, files 0600, whatever the umask is and whatever they were before",
        NOTHING,
        (
            "attacks/test_state_files.py::test_no_other_user_reads_what_the_programs_keep",
            "datastores/test_private.py::test_all_that_a_store_makes_is_private",
            "datastores/test_private.py::test_what_was_readable_is_not_any_more",
        ),
    ),
    Attack(
        "Whoever can write into a program's folder puts a link in the place of one of its files",
        "what the link leads to is neither read nor written",
        "the words: that it is a link. The program does not start; small files it puts in the link's place",
        (
            "attacks/test_state_files.py::test_a_link_in_the_place_of_a_store_is_not_followed",
            "datastores/test_private.py::test_a_link_is_not_followed",
            "datastores/test_private.py::test_small_files_are_private_and_replace_links",
        ),
    ),
)

GROUPS: dict[str, tuple[Attack, ...]] = {
    "Relays, tokens and tunnels": TUNNELS,
    "Calls": CALLS,
    "The directory": RECORDS,
    "Wires": WIRES,
    "TLS passthrough": PASSTHROUGH,
    "Files": FILES,
    "The audit log": AUDIT,
}
"""By headings."""
