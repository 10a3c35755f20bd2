import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_interfaces.masking import MASK, is_secret, masked, masks_in

OPAQUE = "0123456789abcdef0123456789abcdef01234567"


SPEAKING = """
    api_key apiKey API_KEY APIKEY WANDB_API_KEY secret client_secret s3_secret_value token hf_token authToken
    access_tokens password db-password passwords credentials auth http.auth aws_secret_access_key private_key
    Authorization sshKey secret_key
"""
SILENT = """
    monkey keypoints key keys image_key sort_keys keyboard tokenizer pad_token eos_token special_tokens author
    auth_method authors token_type turkey secretary monitor primary_key tokens
    user_key session_key user_token token_dropout
"""


@pytest.mark.parametrize("name", SPEAKING.split())
def test_names_that_speak_of_a_secret(name):
    assert is_secret(name, "x")
    assert is_secret(name, ["x"])


@pytest.mark.parametrize("name", [*SILENT.split(), ""])
def test_names_that_only_have_its_letters(name):
    assert not is_secret(name, "label")
    assert not is_secret(name, ["label"])


def test_numbers_and_nothing_are_no_secrets():
    assert not any(is_secret("api_key", value) for value in (None, 1, 1.5, True, ""))
    assert not is_secret("max_tokens", 512)


def test_what_looks_like_a_secret_is_one_under_a_name_that_may_hold_one():
    assert is_secret("metrics_key", OPAQUE)
    assert is_secret("user_token", "123456789:AAF-dQw4w9WgXcQ_r34Lly1tt13K3y")
    assert not is_secret("checksum", OPAQUE)
    assert is_secret("note", "ghp_" + OPAQUE)
    for harmless in ("image_resnet50_features_v2", "hf_hub:timm/resnet50d.ra2_in1k", "sk-learn-random-forest-100"):
        assert not is_secret("image_key", harmless)
        assert not is_secret("note", harmless)


def test_secret_objects_are_secrets_under_any_name():
    class SecretStr:
        def get_secret_value(self):
            return "x"

    assert masked({"note": [SecretStr()], "x": (SecretStr(), 1)}) == {"note": [MASK], "x": (MASK, 1)}


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("https://user:pa@ss@host/x", "https://***@host/x"),
        ("postgres+psycopg://u:p@h", "postgres+psycopg://***@h"),
        ("https://token@github.com", "https://***@github.com"),
        ("ssh://git@github.com/x", "ssh://git@github.com/x"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_the_user_part_of_urls_is_masked(given_, shown):
    assert masked(given_) == shown


def test_nested_values_are_masked_and_found_again():
    value = {"a": 1, "db": {"password": "x", "urls": ["s3://k:s@b", "plain"]}, "auth": ("u", "p")}
    hidden = masked(value)
    assert hidden == {"a": 1, "db": {"password": MASK, "urls": ["s3://***@b", "plain"]}, "auth": MASK}
    assert list(masks_in(hidden, "")) == ["db.password", "db.urls[0]", "auth"]
    assert value["db"]["password"] == "x"


plain = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text("abc ", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["lr", "pad_token"]), inner),
)


@given(plain)
def test_what_holds_no_secret_is_the_very_same_object(value):
    assert masked(value) is value
    assert not list(masks_in(value, "x"))


def test_masking_twice_is_masking_once():
    once = masked({"token": "x", "url": "http://a:b@c"})
    assert masked(once) == once
