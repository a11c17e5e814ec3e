"""Grafana's dashboard in ``deploy/``: it is JSON of the right form, and each query asks for what the programs expose.

Nobody has opened it in Grafana here: its queries are read by Prometheus' own tool, and compared with what is exposed.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eps.core.event import DirectoryConfirmed
from eps.programs.running.families import Program
from eps.programs.running.metrics import Metrics
from support.promtool import needs_promtool, promtool, samples

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "eps-dashboard.json").read_text())
RULES = yaml.safe_load((DEPLOY / "eps-alerts.yml").read_text())

_SELECTOR = re.compile(r"\b((?:eps|process)_\w+|up)\b(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')


def exposed(program: Program) -> str:
    """What a program exposes that has a peer, a certificate and a directory."""
    metrics = Metrics()
    metrics.belongs_to(program, lambda: {"eps_stream_up": {("hd-2",): 1}})
    metrics.expire({"channels[0].settings.tls.certificate_file": 2e9})
    metrics(DirectoryConfirmed(at=1.8e9, date=""))
    return metrics.render().decode()


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> dict[str, str]:
    """Name → query, with Grafana's variables filled in; of the dashboard and of the alerts."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$job", ".*").replace("$instance", ".*")
        for panel in panels()
        for target in panel["targets"]
    }
    return found | {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("program", list(Program))
@needs_promtool
def test_names_are_as_prometheus_wants_them(program: Program) -> None:
    text = "".join(part for part in exposed(program).splitlines(keepends=True) if "python_" not in part)
    done = promtool("check", "metrics", stdin=text)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


@needs_promtool
def test_queries_run(tmp_path: Path) -> None:
    """In Prometheus' own engine, on what all programs expose."""
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(expressions().values())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    of_all = [name.replace("x:1", f"{program}:1") for program in Program for name in samples(exposed(program))]
    series = [{"series": name, "values": "1+1x30"} for name in of_all]
    count = {"expr": "count(query:0)", "eval_time": "20m", "exp_samples": [{"labels": "{}", "value": 1}]}
    up = {"series": 'up{instance="eps:1",job="eps"}', "values": "1x30"}
    test = {"interval": "1m", "input_series": [*series, up], "promql_expr_test": [count]}
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yml").write_text(json.dumps(whole))
    done = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_queries_ask_for_what_is_exposed() -> None:
    series = {name for program in Program for name in samples(exposed(program))} | {'up{instance="x:1",job="eps"}'}
    labelled = [(name.partition("{")[0], dict(re.findall(r'(\w+)="([^"]*)"', name))) for name in series]
    for title, text in expressions().items():
        for name, matchers in _SELECTOR.findall(text):
            wanted = {label: words for label, _, words in _MATCHER.findall(matchers)}
            of_name = [labels for found, labels in labelled if found == name]
            assert of_name, f"{title}: nothing is called {name}"
            for label in wanted.keys() - {"job", "instance"}:
                said = {labels.get(label) for labels in of_name}
                assert set(wanted[label].split("|")) <= said, f"{title}: {name} never says that: {wanted[label]}"
            assert any(_fits(labels, wanted) for labels in of_name), f"{title}: there is no {name}{matchers}"


def _fits(labels: dict[str, str], wanted: dict[str, str]) -> bool:
    return all(re.fullmatch(words, labels.get(label, "")) for label, words in wanted.items())


def test_panels_have_a_place_and_a_word_of_what_they_show() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    taken = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    assert all(panel["description"].endswith(".") for panel in panels())
