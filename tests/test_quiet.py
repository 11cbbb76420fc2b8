"""What libraries say on stderr from C++ is not seen, unless it is needed."""

import os

import pytest

from nnss_utils.errors import quiet_stderr


def test_a_greeting_is_not_seen_and_what_follows_is(capfd):
    with quiet_stderr():
        os.write(2, b"greeting")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_what_was_said_before_an_error_is_seen(capfd):
    with pytest.raises(ImportError), quiet_stderr():
        os.write(2, b"the reason")
        raise ImportError
    assert capfd.readouterr().err == "the reason"
