from __future__ import annotations

import base64
import hashlib
import re

import pytest
from objects import model_object

from pecan_operator.api.model import RUN_TIMEOUT_MAX_SECONDS, PecanModel
from pecan_operator.core.model import grace_seconds
from pecan_operator.core.platform.rabbitmq import RABBITMQ_CONF, definitions, password_hash


def test_password_hash_is_the_documented_example():
    # https://www.rabbitmq.com/docs/passwords: salt 908D C60A, password test12
    salt = bytes.fromhex("908DC60A")
    assert password_hash("test12", salt) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert base64.b64decode(password_hash("x", salt)) == salt + hashlib.sha256(salt + b"x").digest()


@pytest.mark.parametrize(
    ("right", "name", "allowed"),
    [
        ("configure", "SIPNET_git", True),
        ("configure", "pecan", True),
        ("configure", "models", True),
        ("configure", "amq.gen-JzTY20BRgKO-HjmUJj0wLg", True),
        ("configure", "pecan.events", False),
        ("configure", "pecan.control", False),
        ("configure", "pecan.dead", False),
        ("write", "amq.default", True),
        ("write", "models", True),
        ("write", "amq.gen-JzTY20BRgKO-HjmUJj0wLg", True),
        ("write", "pecan.control", False),
        ("write", "pecan.events", False),
        ("read", "BASGRA_BASGRA_N_v1.0", True),
        ("read", "pecan.control", True),
        ("read", "pecan.events", False),
        ("read", "pecan.dead", False),
    ],
)
def test_rights_of_a_worker(right, name, allowed):
    rights = next(each for each in definitions("a", "b")["permissions"] if each["user"] == "pecan")
    assert bool(re.search(rights[right], name)) is allowed


def test_the_operator_is_no_administrator():
    tags = {user["name"]: user["tags"] for user in definitions("a", "b")["users"]}
    assert tags == {"pecan-operator": ["management"], "pecan": ["management"]}


@pytest.mark.parametrize(
    ("queue", "policy"),
    [
        ("SIPNET_git", "pecan-default"),
        ("pecan", "pecan-default"),
        ("pecan.events", "pecan-own"),
        ("pecan.dead", "pecan-own"),
    ],
)
def test_which_policy_a_queue_gets(queue, policy):
    matching = [each for each in definitions("a", "b")["policies"] if re.search(each["pattern"], queue)]
    assert max(matching, key=lambda each: each["priority"])["name"] == policy


def test_dead_letters_do_not_go_round_in_circles():
    own = next(each for each in definitions("a", "b")["policies"] if each["name"] == "pecan-own")
    assert not {"dead-letter-exchange", "dead-letter-routing-key"} & own["definition"].keys()
    assert own["definition"]["delivery-limit"] == -1


def test_no_run_that_a_model_permits_is_longer_than_a_message_may_be_held():
    longest = PecanModel.parse(model_object(run={"timeoutSeconds": RUN_TIMEOUT_MAX_SECONDS}))
    for policy in definitions("a", "b")["policies"]:
        held = policy["definition"]["consumer-timeout"] / 1000
        assert held > longest.spec.run.timeout_seconds + grace_seconds(longest) + 300


def test_every_line_of_the_configuration_is_a_setting_or_a_comment():
    for line in RABBITMQ_CONF.splitlines():
        assert re.fullmatch(r"#.*|[a-z_.]+ = \S+", line), line
