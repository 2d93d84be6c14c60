"""Requests generated from `/openapi.json` get a response that it describes, and never a 500."""

import re

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serve.shop import served, write_shop

pytestmark = pytest.mark.slow
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


SETTINGS = settings(max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))
OPERATIONS = (
    ("/search", "POST"), ("/search", "GET"), ("/search/vector", "POST"), ("/items", "GET"),
    ("/samples", "GET"), ("/item", "GET"), ("/image", "GET"), ("/about", "GET"),
    ("/health", "GET"), ("/metrics", "GET"), ("/login", "POST"),
)  # fmt: skip


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    with served(write_shop(tmp_path_factory.mktemp("shop"))) as (address, _):
        yield schemathesis.openapi.from_url(f"{address}openapi.json")


def test_every_operation_is_tried(described):
    operations = [found.ok() for found in described.get_all_operations()]
    assert {(one.path, one.method.upper()) for one in operations} == set(OPERATIONS)


@pytest.mark.parametrize("path, method", OPERATIONS)
def test_every_request_gets_an_answer_that_is_described(described, path, method):
    requests = described[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE)
    if path not in ("/about", "/health", "/metrics"):  # which take nothing that could be wrong
        requests |= described[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @SETTINGS
    @given(case=requests)
    def answered(case):
        case.call_and_validate(checks=CHECKS)

    answered()


VALUES = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5)).map(repr)
LISTS = st.lists(VALUES, max_size=3).map(lambda values: f"[{', '.join(values)}]")
COMPARISONS = st.one_of(
    st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), VALUES),
    st.tuples(st.sampled_from(["in", "not in"]), LISTS),
)
FILTERS = st.recursive(
    st.tuples(st.sampled_from(["id", "label", "path", "other"]), COMPARISONS).map(
        lambda one: f"{one[0]} {one[1][0]} {one[1][1]}"
    ),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
    ),
    max_leaves=5,
)


def test_every_filter_is_answered_or_refused_and_none_asks_for_paths(described):
    address = described.location.removesuffix("openapi.json")

    @SETTINGS
    @given(where=st.one_of(FILTERS, st.text()))
    def answered(where):
        answer = client.get(f"{address}items", params={"where": where})
        assert answer.status_code in (200, 400), answer.text
        assert not re.search(r"\bpath (?=[=!<>]|in|not)", where) or answer.status_code == 400

    with httpx.Client() as client:
        answered()
