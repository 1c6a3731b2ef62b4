"""What Postgres keeps of a password."""

import base64

from pgha.tools import scram


def test_the_example_of_the_standard():
    """RFC 7677, 3; its keys as Postgres writes them."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    assert scram.verifier("pencil", salt) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_a_verifier_is_of_its_password_alone():
    made = scram.verifier("one", b"salt of sixteen.")
    assert scram.is_of(made, "one")
    assert not any(scram.is_of(made, other) for other in ("two", "", "One"))
    assert not any(
        scram.is_of(other, "one") for other in (None, "", "md50123", made[:-60], made.replace("4096", "4097"))
    )
