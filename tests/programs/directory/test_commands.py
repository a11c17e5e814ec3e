"""``eps directory …`` as it is typed, against the real service directory without a network."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from eps.errors import Unreachable
from eps.programs.admin import review, screen
from eps.programs.directory import commands as directory_commands
from support.directory_network import Network
from support.machine import BIN

DOWN = Unreachable("the service directory: connection refused")


# Looking


def test_show_everybody(network: Network) -> None:
    done = network.eps("directory", "show")
    lines = done.out.splitlines()
    assert done.code == 0 and len(lines) == len(network.service.chain.directory.entries)
    assert lines[0].split() == ["hd-1", "health-departments;", "behind", "public-proxy-1.ga;", "2", "methods"]
    assert any(line.startswith("op-1 ") and "no group; at localhost:4444" in line for line in lines)
    assert any(line.startswith("sd-1 ") and "can't be dialled; 0 methods" in line for line in lines)
    assert done.err.startswith("from the service directory, verified here: 30 records, up to ")
    assert done.err.endswith("; not compared with a copy of our own, since there is none\n")


def test_show_one_without_walls_of_pem(network: Network) -> None:
    done = network.eps("directory", "show", "hd-1")
    assert done.code == 0 and "BEGIN" not in done.out and len(done.out) < 1500
    assert done.out.splitlines()[0] == "hd-1"
    assert "  groups: signed by hd-1, " in done.out
    assert "    internals: _ping, callable by health-departments" in done.out
    assert "    grpc_server address=localhost:8888 proxy=public-proxy-1.ga" in done.out
    value = network.eps("directory", "show", "hd-1", "--json").value
    assert (value["name"], value["groups"], "records" in value) == ("hd-1", ["health-departments"], False)
    assert value["signed"]["groups"]["by"] == "hd-1" and len(value["signed"]["groups"]["certificate"]) == 64
    every = network.eps("directory", "show", "--json").value
    assert every[0] == value


def test_show_nobody(network: Network) -> None:
    done = network.eps("directory", "show", "hd-3")
    assert (done.code, done.out) == (1, "")
    assert "hd-3 is not in the directory" in done.err and "did you mean hd-" in done.err


def test_where_it_is_from(network: Network) -> None:
    network.keep_copy()
    network.submit(("hd-2", "groups", ["new"]))
    done = network.eps("directory", "show", "hd-2")
    assert "    new" in done.out and "from the service directory, verified here: 31 records" in done.err
    network.asked.clear()
    copy = network.eps("directory", "show", "hd-2", "--copy")
    assert "    health-departments" in copy.out and "our server's verified copy: 30 records" in copy.err
    assert network.asked == []
    network.down = DOWN
    fallen = network.eps("directory", "show", "hd-2")
    assert (fallen.code, fallen.out) == (0, copy.out)
    assert "connection refused; what our server verified last is used" in fallen.err


def test_nobody_to_ask_and_no_copy(network: Network) -> None:
    network.down = DOWN
    for words in (["show"], ["log"], ["diff", "x.json"], ["remove", "hd-2"]):
        done = network.eps("directory", *words)
        assert (done.code, done.out) == (1, "") and "connection refused" in done.err, words
    done = network.eps("directory", "show", "--copy")
    assert (done.code, done.out) == (1, "") and "there is no verified copy of the directory" in done.err


def test_history(network: Network) -> None:
    network.submit(("hd-2", "groups", ["health-departments", "new"]))
    done = network.eps("directory", "log", "-n", "1")
    head, by, change = done.out.splitlines()
    assert head.endswith("  hd-2: groups") and by.startswith("    signed by hd-1 with certificate ")
    assert change == "    + new"
    assert done.err.endswith("the last 1 of 31 records; --all shows all\n")
    every = network.eps("directory", "log", "--all", "--json").value
    assert len(every) == 31 and every[-1]["root"] and not every[0]["root"]
    assert (every[0]["before"], every[0]["after"]) == (["health-departments"], ["health-departments", "new"])
    assert "BEGIN" not in json.dumps(every)
    one = network.eps("directory", "log", "hd-2")
    assert one.out.count("hd-2: ") == one.out.count("signed by hd-1") == 5 and "the last" not in one.err
    assert network.eps("directory", "log", "hd2").code == 1
    network.submit(("hd-2", "groups", ["health-departments", "new"]))
    assert network.eps("directory", "log", "-n", "1").out.splitlines()[-1] == "    nothing changed"


def test_a_full_disk_amid_much_output(network: Network) -> None:
    network.submit(("hd-2", "groups", [f"group-{number}" for number in range(2000)]))
    for words in ("log --all", "show --json"):
        line = f"{BIN}/eps directory {words} --copy > /dev/full"
        network.keep_copy()
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[1:] == ["error: the output can't be written: No space left on device"]


def test_difference(network: Network) -> None:
    file = network.records(("hd-2", "groups", ["health-departments", "new"]))
    done = network.eps("directory", "diff", file)
    assert (done.code, done.out) == (0, "hd-2\n  groups\n    + new\n")
    (change,) = network.eps("directory", "diff", file, "--json").value
    assert (change["operator"], change["section"]) == ("hd-2", "groups")
    shown = network.eps("directory", "show", "hd-2", "--json").value
    same = network.eps("directory", "diff", network.file(shown))
    assert (same.code, same.out) == (1, "") and "changes nothing" in same.err
    shown["groups"] = None
    emptied = network.eps("directory", "diff", network.file([shown]))
    assert emptied.out == "hd-2\n  groups: empty from then on\n    - health-departments\n"


def test_a_terminal_gets_a_screen_of_it(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"group-of-many-{number}x" for number in range(100)]
    file = network.records(("hd-2", "groups", many))
    looks = (
        (("show",), "--all"),
        (("show", "public-proxy-1.ga"), "--all"),
        (("log",), "-n 20"),
        (("diff", file), "--all"),
        (("check", file), ""),
    )
    whole = {words: network.eps("directory", *words).out for words, _ in looks}
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "13")
    monkeypatch.setattr(screen, "at_screen", lambda: True)
    monkeypatch.setattr(directory_commands, "at_screen", lambda: True)
    for words, rest in looks[:-1]:
        done = network.eps("directory", *words)
        assert done.code == 0 and whole[words].startswith(done.out) and len(done.out.splitlines()) <= 6, words
        assert f"shortened: {rest} shows all {len(whole[words].splitlines())} lines\n" in done.err
        again = network.eps("directory", *words, *rest.split())
        assert again.out == whole[words] and "shortened" not in again.err
    checked = network.eps("directory", "check", file).out.splitlines()
    assert checked[:2] == ["hd-2", "  groups"] and checked[60] == "… and 43 lines more; --all shows all"
    assert checked[-1].startswith("doubtful: ") or checked[-1] == "nothing speaks against signing it"
    assert network.eps("directory", "check", file, "--all").out == whole["check", file]
    dry = network.eps("directory", "submit", "--dry-run", file)
    assert len(dry.out.splitlines()) == 9 and "shortened: | less shows all 103 lines\n" in dry.err


def test_what_is_not_shown_beside_a_signature_is_said(network: Network) -> None:
    file = network.records(("hd-2", "groups", [f"group-of-many-{number}x" for number in range(100)]))
    for words, rest in (
        (["propose"], "eps directory diff FILE"),
        (["sign"], "eps directory diff FILE"),
        (["submit"], "--dry-run"),
    ):
        done = network.eps("directory", *words, file, role="hd-1" if words != ["propose"] else "hd-2")
        assert done.code == 0 and f"… and 43 lines more; {rest} shows all\n" in done.err, done


# Proposing, checking, signing


def proposed(network: Network, *words: str, role: str = "hd-2") -> dict[str, Any]:
    """A slip in slip.json, in which hd-2 proposes to be in another group."""
    shown = network.eps("directory", "show", "hd-2", "--json").value
    file = network.file(shown | {"groups": ["health-departments", "proxy-users"]})
    done = network.eps("directory", "propose", file, "--output", "slip.json", *words, role=role)
    assert (done.code, done.out) == (0, ""), done
    assert "    + proxy-users" in done.err and "the slip's code is " in done.err
    slip: dict[str, Any] = json.loads((network.folder / "slip.json").read_text())
    return slip


def no_signing_key(network: Network) -> None:
    file = network.folder / "settings/dev/roles/hd-2/001_default.yml"
    settings = yaml.safe_load(file.read_text())
    del settings["signing"]
    file.write_text(yaml.safe_dump(settings))


def test_an_operator_proposes_and_an_administrator_signs(network: Network) -> None:
    slip = proposed(network, "--why", "a new group")
    done = network.eps("directory", "check", "slip.json")
    assert done.code == 0, done
    assert f"code: {slip['code']}" in done.out and "why: a new group" in done.out and "operator: hd-2" in done.out
    assert "signed by: hd-2, with certificate " in done.out and done.out.endswith("nothing speaks against signing it\n")
    signed = network.eps("directory", "sign", "slip.json", "--output", "signed.json")
    assert (signed.code, signed.out) == (0, "") and "signed 1 record" in signed.err
    assert network.groups("hd-2") == ("health-departments",), "nothing is submitted yet"
    dry = network.eps("directory", "submit", "--dry-run", "signed.json")
    assert (dry.code, dry.out) == (0, "hd-2\n  groups\n    + proxy-users\n")
    submitted = network.eps("directory", "submit", "signed.json", role="hd-2")
    assert submitted.code == 0 and submitted.out.startswith("submitted 1 record; the directory's tip is now ")
    assert network.groups("hd-2") == ("health-departments", "proxy-users")
    again = network.eps("directory", "submit", "signed.json")
    assert again.code == 1 and "was submitted already" in again.err


def test_a_slip_is_signed_and_submitted_in_one(network: Network) -> None:
    proposed(network)
    assert network.eps("sd", "verify", "slip.json", "hd-2").code == 0, "it is signed as eps sd sign signs"
    done = network.eps("directory", "submit", "--json", "slip.json")
    assert (done.code, done.value["records"], done.value["doubts"]) == (0, 1, []), done
    stale = network.eps("directory", "submit", "slip.json")
    assert stale.code == 1
    assert "the directory says all of it already: it was submitted" in stale.err
    network.submit(("hd-2", "groups", ["other"]))
    stale = network.eps("directory", "submit", "slip.json")
    assert stale.code == 1
    assert "the directory has changed since it was proposed (hd-2: groups)" in stale.err
    assert "have hd-2 propose it again" in stale.err


def test_nobody_but_an_administrator_signs(network: Network) -> None:
    proposed(network)
    done = network.eps("directory", "sign", "slip.json", role="hd-2")
    assert (done.code, done.out) == (1, "") and "sd-admin" in done.err


def test_a_slip_that_nobody_has_signed(network: Network) -> None:
    no_signing_key(network)
    slip = proposed(network)
    assert "signature" not in slip
    done = network.eps("directory", "check", "slip.json")
    assert done.code == 0
    text = f"doubtful: nobody has signed the slip: ask hd-2 by telephone whether its code is {slip['code']}"
    assert text in done.out
    assert network.eps("directory", "check", "--strict", "slip.json").code == 1
    strict = network.eps("directory", "submit", "--strict", "slip.json")
    assert strict.code == 1 and network.groups("hd-2") == ("health-departments",)
    warned = network.eps("directory", "submit", "slip.json")
    assert warned.code == 0 and "warning: nobody has signed the slip" in warned.err
    assert network.groups("hd-2") == ("health-departments", "proxy-users")


def test_a_slip_that_was_altered(network: Network) -> None:
    slip = proposed(network)
    slip["data"]["changes"][0]["data"].append("sneaked-in")
    network.file(slip, "altered.json")
    done = network.eps("directory", "check", "altered.json")
    assert done.code == 1
    assert "wrong: it was altered after it was proposed: its code is not that of its content" in done.out
    assert "wrong: its signature does not count: " in done.out and slip["code"] not in done.out
    value = network.eps("directory", "check", "--json", "altered.json").value
    assert value["ok"] is False and len(value["wrong"]) == 2 and value["slip"]["operator"] == "hd-2"
    for words in (["sign"], ["submit"], ["submit", "--dry-run"]):
        refused = network.eps("directory", *words, "altered.json")
        assert (refused.code, refused.out) == (1, ""), words
        assert "altered.json: it was altered after it was proposed" in refused.err
    assert network.groups("hd-2") == ("health-departments",)


def test_nobody_proposes_for_others_but_an_administrator(network: Network) -> None:
    file = network.records(("ls-1", "groups", ["location-services", "more"]), name="ls-1.json")
    refused = network.eps("directory", "propose", file, role="hd-2")
    assert (refused.code, refused.out) == (1, "")
    assert "ls-1.json: changes the entry of ls-1, but we are hd-2" in refused.err
    network.file(network.eps("directory", "propose", file).value, "slip.json")
    assert network.eps("directory", "check", "slip.json").code == 0
    slip = proposed(network)
    del slip["signature"]
    slip["data"]["changes"][0]["name"] = "ls-1"
    assert (
        "hd-2 proposes to change ls-1: only an administrator may"
        in network.eps("directory", "check", network.file(slip)).out
    )
    theirs = network.eps("directory", "propose", file).value
    theirs["data"]["operator"] = "hd-2"
    assert "signature does not count" in network.eps("directory", "check", network.file(theirs)).out


def test_a_slip_signed_with_another_certificate(network: Network) -> None:
    """hd-2 has a second one, which the directory doesn't pin."""
    certs = network.folder / "settings/dev/certs"
    pinned = [(certs / f"hd-2-sign.{kind}").read_bytes() for kind in ("crt", "key")]
    for kind in ("crt", "key"):
        (certs / f"hd-2-sign.{kind}").write_bytes((certs / f"hd-2-sign-alt.{kind}").read_bytes())
    proposed(network)
    done = network.eps("directory", "check", "slip.json")
    assert done.code == 1 and "which the directory doesn't pin" in done.out
    for kind, content in zip(("crt", "key"), pinned, strict=True):
        (certs / f"hd-2-sign.{kind}").write_bytes(content)
    proposed(network)
    network.submit(("hd-2", "certificates", []))
    done = network.eps("directory", "check", "slip.json")
    assert done.code == 0 and "doubtful: the directory pins no certificate that hd-2 signs with" in done.out


def test_what_is_wrong_is_neither_proposed_nor_signed(network: Network) -> None:
    odd = network.records(("hd-2", "channels", [{"type": "grpc_server", "settings": {"address": "hd-2"}}]))
    for words, role in ((["propose"], "hd-2"), (["sign"], "hd-1"), (["submit"], "hd-1")):
        done = network.eps("directory", *words, odd, role=role)
        assert (done.code, done.out) == (1, ""), words
        assert "data[0].settings.address: must be HOST:PORT" in done.err
    checked = network.eps("directory", "check", odd)
    assert checked.code == 1 and "wrong: change.json: records[0].data[0].settings.address: must be" in checked.out
    doubtful = network.records(("hd-2", "services", [{"name": "s", "permissions": [{"group": "odd"}]}]))
    for words, role in ((["propose"], "hd-2"), (["sign"], "hd-1"), (["check"], "hd-1")):
        done = network.eps("directory", *words, "--strict", doubtful, role=role)
        assert done.code == 1 and "nobody is in the group 'odd'" in done.err + done.out, words
    nothing = network.records(("hd-2", "groups", ["health-departments"]))
    done = network.eps("directory", "propose", nothing, role="hd-2")
    assert (done.code, done.out) == (1, "") and "changes nothing" in done.err


def test_a_key_of_another_make_is_named_by_whoever_means_it(network: Network) -> None:
    server = {"type": "grpc_server", "settings": {"address": "hd-2:1", "quic_address": "hd-2:2"}}
    file = network.records(("hd-2", "channels", [server]))
    known = "did you mean address? If servers of another make do: --foreign-key quic_address"
    for words, role in (
        (["directory", "propose"], "hd-2"),
        (["directory", "submit"], "hd-1"),
        (["sd", "submit-records"], "hd-1"),
    ):
        refused = network.eps(*words, file, role=role)
        assert (refused.code, refused.out) == (1, "") and known in refused.err, words
    meant = ("--foreign-key", "quic_address", "--strict")
    assert network.eps("directory", "propose", file, *meant, "--output", "slip.json", role="hd-2").code == 0
    assert "settings.quic_address: nobody reads this key" in network.eps("directory", "check", "slip.json").out
    assert network.eps("directory", "check", "slip.json", *meant).code == 0
    assert network.eps("directory", "sign", "slip.json", *meant, "--output", "signed.json").code == 0
    assert network.eps("sd", "submit-records", "--dry-run", file, *meant).code == 0
    assert network.eps("directory", "submit", "slip.json", *meant).code == 0


def test_something_else_came_first(network: Network) -> None:
    proposed(network)
    assert network.eps("directory", "sign", "slip.json", "--output", "signed.json").code == 0
    network.submit(("ls-1", "groups", ["location-services", "more"]))
    done = network.eps("directory", "submit", "signed.json")
    assert (done.code, done.out) == (1, "")
    assert "something else was submitted meanwhile: check the change slip again, and sign it again" in done.err
    value = json.loads((network.folder / "signed.json").read_text())
    value["records"][0]["record"]["data"] = ["mine"]
    value["records"][0]["parent_hash"] = network.service.chain.tip
    forged = network.eps("directory", "submit", network.file(value))
    assert forged.code == 1 and "its hash is not that of its content" in forged.err


@pytest.mark.parametrize("answer", [False, True], ids=["no", "yes"])
def test_at_a_terminal_it_is_asked(network: Network, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr(review, "at_terminal", lambda: True)
    monkeypatch.setattr(review, "agrees", lambda question: asked.append(question) or answer)
    odd = network.records(("hd-2", "services", [{"name": "s", "permissions": [{"group": "odd"}]}]))
    meant = "Is all of this meant? [y/N] "
    for words, role, questions in (
        (("propose", odd), "hd-2", [meant]),
        (("sign", odd), "hd-1", [meant]),
        (("submit", odd), "hd-1", [meant]),
        (("remove", "ls-1"), "hd-1", ["Remove ls-1 from the directory? [y/N] "]),
    ):
        done = network.eps("directory", *words, role=role)
        assert (done.code, bool(done.out), asked) == (0 if answer else 1, answer, questions), words
        assert answer or re.search(r"nothing was (proposed|signed|submitted)\n$", done.err)
        asked.clear()


def test_a_signed_file_for_scripts(network: Network) -> None:
    proposed(network)
    assert network.eps("directory", "sign", "slip.json", "--output", "signed.json").code == 0
    dry = network.eps("directory", "submit", "--json", "--dry-run", "signed.json").value
    assert (dry["submitted"], len(dry["changes"])) == (False, 1)
    done = network.eps("directory", "submit", "--json", "signed.json").value
    assert (done["records"], done["tip"]) == (1, network.service.chain.tip)
    odd = {"records": [{"signature": {}}]}
    bad = network.eps("directory", "submit", network.file(odd))
    assert (bad.code, bad.out) == (1, "") and "change.json: records[0].hash: must be a string" in bad.err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "JSON"),
        ('{"records": [],}', "JSON"),
        ("[]", "is none of what can be proposed"),
        ('{"a": 1}', "is none of what can be proposed"),
        ('{"records": []}', "changes nothing"),
        ('{"records": 7}', "must be a list of change records"),
        ('{"records": null}', "must be a list of change records"),
        ('{"data": {"slip": 2}}', "a change slip of a version that this program"),
        ('{"data": {"slip": 1}}', "is no whole change slip"),
        ('{"data": {"slip": 1, "operator": "a", "why": "", "proposed_at": "", "changes": [7]}}', "what they replace"),
        ('{"records": [{"name": "hd-2", "section": "groups", "data": 7}]}', r"records\[0\].data: must be a list"),
        ('{"name": "hd-2", "groups": 7}', r"records\[0\].data: must be a list"),
        ('{"name": "hd-2", "grups": []}', "entry of hd-2: there is no section 'grups'(.|\n)*did you mean groups"),
        ('{"name": "hd-2", "groups": [], "x": 1}', "there is no section 'x'(.|\n)*the sections are channels"),
        ('[{"name": "hd-2", "section": "groups", "data": []}]', "holds a change record by itself"),
    ],
    ids=[
        "empty",
        "comma",
        "list",
        "object",
        "none",
        "number",
        "null",
        "newer",
        "half",
        "odd",
        "record",
        "entry",
        "misspelt",
        "key",
        "bare",
    ],
)
def test_files_that_hold_no_changes(network: Network, content: str, says: str) -> None:
    network.file(content)
    for words in (["diff"], ["check"], ["propose"], ["sign"], ["submit"]):
        done = network.eps("directory", *words, "change.json")
        assert (done.code, done.out) == (1, ""), words
        assert re.search(says, done.err), done


def test_files_that_are_not_for_this_command(network: Network) -> None:
    proposed(network)
    assert network.eps("directory", "sign", "slip.json", "--output", "signed.json").code == 0
    for words in (["diff"], ["check"], ["sign"], ["propose"]):
        done = network.eps("directory", *words, "signed.json")
        assert done.code == 1 and "signed already" in done.err, words
    done = network.eps("directory", "propose", "slip.json", role="hd-2")
    assert done.code == 1 and "is a change slip already" in done.err
    done = network.eps("directory", "diff", "nowhere.json")
    assert done.code == 1 and "nowhere.json: can't be read: No such file" in done.err
    done = network.eps("directory", "propose", network.records(("hd-1", "groups", [])), "--output", "no/where.json")
    assert done.code == 1 and "no/where.json can't be written: No such file" in done.err


# Removing


def test_an_operator_is_removed(network: Network) -> None:
    dry = network.eps("directory", "remove", "--dry-run", "hd-2")
    assert dry.code == 0 and network.groups("hd-2"), dry
    assert "  groups: empty from then on" in dry.out and "    + signing " + "0" * 64 in dry.out
    done = network.eps("directory", "remove", "hd-2")
    assert done.code == 0 and done.out.startswith("submitted 4 records; ")
    entry = network.service.chain.directory.entry("hd-2")
    assert entry is not None and not (entry.groups or entry.channels or entry.services or entry.pins)
    assert network.eps("directory", "show", "hd-2").out.splitlines()[0] == "hd-2 (removed from the directory)"
    assert "\nhd-2                removed\n" in network.eps("directory", "show").out
    again = network.eps("directory", "remove", "hd-2")
    assert (again.code, again.out) == (1, "") and "hd-2 is removed already" in again.err


def test_whom_a_removal_leaves_alone_is_said(network: Network) -> None:
    done = network.eps("directory", "remove", "--dry-run", "--json", "public-proxy-1.ga")
    assert "hd-1 is reached through 'public-proxy-1.ga', which nobody can reach any more" in done.value["doubts"]
    assert any("nobody is in the group proxy-providers any more" in doubt for doubt in done.value["doubts"])
    strict = network.eps("directory", "remove", "--strict", "public-proxy-1.ga")
    assert strict.code == 1 and network.groups("public-proxy-1.ga")


def test_whom_nobody_can_remove(network: Network) -> None:
    done = network.eps("directory", "remove", "hd-1")
    assert (done.code, done.out) == (1, "") and "hd-1 can't remove itself" in done.err
    done = network.eps("directory", "remove", "hd2")
    assert done.code == 1 and "hd2 is not in the directory" in done.err
