"""Which flags of `inv rotate` go together."""

import pytest

from pgha.cli.rotating import require_kind
from pgha.errors import BadValue


@pytest.mark.parametrize(
    ("what", "flags", "words"),
    [
        ("tea", {}, "nothing of that name"),
        ("keys", {"remove_old": True}, "of the keys but the repository"),
        ("", {"abort": True}, "kept but the repository"),
        ("passphrase", {"abort": True, "remove_old": True}, "different things"),
        ("passphrase", {"plan": True, "abort": True}, "different things"),
    ],
)
def test_what_cannot_be_rotated_so_is_refused(what, flags, words):
    with pytest.raises(BadValue, match=words):
        require_kind(what, **flags)


def test_the_former_repository_is_the_passphrase_s():
    require_kind("passphrase", remove_old=True)
    require_kind("passphrase", abort=True)
    require_kind("keys", plan=True)
