"""Settings check themselves; points and decisions follow them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from leanrisk.core.errors import ConfigError
from leanrisk.serve.points import Points, Policy
from leanrisk.serve.settings import Limits, ServeConfig

chances = some.floats(0, 1)


def test_the_scale_has_its_base_at_its_odds_and_doubles():
    points = Points(base=600, odds=50, double=20)
    assert points.of(1 / 51) == 600
    assert points.of(1 / 101) == 620
    assert points.of(1 / 26) == 580
    assert points.of(0) > points.of(1e-6) > points.of(1) > -math.inf


@given(some.lists(chances, min_size=1, max_size=20))
def test_many_have_the_points_and_decisions_of_one(found):
    points, policy = Points(), Policy(0.1, 0.3)
    many = np.array(found)
    assert points.of_all(many).tolist() == pytest.approx([points.of(chance) for chance in found], abs=0.1001)
    assert policy.of_all(many).tolist() == [policy.of(chance) for chance in found]


@given(chances, chances)
def test_a_worse_chance_has_no_more_points(one, other):
    assert Points().of(max(one, other)) <= Points().of(min(one, other))


def test_bands_hold_their_edges():
    policy = Policy(approve_below=0.1, decline_from=0.3)
    assert [policy.of(chance) for chance in (0.0999, 0.1, 0.2999, 0.3)] == ["approve", "review", "review", "decline"]
    assert [Policy(0.2, 0.2).of(chance) for chance in (0.1999, 0.2)] == ["approve", "decline"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "exactly one of bundle and registry"),
        ('bundle = "a"\nregistry = "b"', "exactly one of bundle and registry"),
        ('bundle = "a"\nprot = 1', "'prot' is not one of them"),
        ('bundle = "a"\nport = 70000', "port must be from 0 to 65535"),
        ('bundle = "a"\nworkers = 0', "workers must be from 1"),
        ('bundle = "a"\nmodel = "a/b"', "model is a name"),
        ('bundle = "a"\npoll_s = 0', "poll_s must be from"),
        ('bundle = "a"\nunknown = "drop"', "must be one of refuse, list"),
        ('bundle = "a"\n[points]\ndouble = 0', "points.double"),
        ('bundle = "a"\n[policy]\napprove_below = 0.5', "approve_below <= decline_from"),
        ('bundle = "a"\n[limits]\nrows = 0', "limits.rows"),
        ('bundle = "a"\n[limits]\nper_second = -1', "limits.per_second"),
        ('bundle = "a"\n[limits]\nhead_bytes = 100', "limits.head_bytes"),
        ('bundle = "a"\n[limits]\narrive_s = 0', "limits.arrive_s"),
        ('bundle = "a"\n[limits]\nclient_connections = 0', "limits.client_connections"),
        ('bundle = "a"\n[shadow]\naliases = ["champion"]', "shadow.aliases"),
        ('bundle = "a"\n[shadow]\nwaiting = 0', "shadow.waiting"),
        ('bundle = "a"\n[tls]\ncertificate = "no.pem"\nkey = "no.pem"', "tls.certificate must be a file"),
        ('bundle = "a"\n[tls]\ncertificate = "c"', "needs the key 'key'"),
    ],
)
def test_what_settings_may_not_say_is_named(tmp_path, text, says):
    file = tmp_path / "serve.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        ServeConfig.read(file, {})


def test_an_option_takes_the_place_of_the_file(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text('registry = "r"\nport = 1\n[policy]\ndecline_from = 0.4\n')
    found = ServeConfig.read(file, {"bundle": "b", "port": 2})
    assert (found.bundle, found.registry, found.port, found.policy) == ("b", "", 2, Policy(0.05, 0.4))


def test_the_defaults_are_those_that_the_page_shows(tmp_path):
    page = (Path(__file__).parents[2] / "docs/how-to/serve.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    file = tmp_path / "serve.toml"
    file.write_text(shown)
    assert ServeConfig.read(file, {}) == ServeConfig(bundle="run/bundle")
    named = [*ServeConfig.__dataclass_fields__, *Limits.__dataclass_fields__]
    assert [name for name in named if name != "tls" and not re.search(rf"^(\[{name}\]|{name} = )", shown, re.M)] == []
