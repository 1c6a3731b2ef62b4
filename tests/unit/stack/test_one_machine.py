"""What is rendered for one machine, byte for byte: a change of it makes everybody's containers again, and shows in
`tests/data/rendered.txt`. To write that anew: `PGHA_WRITE=1 pytest tests/unit/stack/test_one_machine.py`."""

import os
import re
from pathlib import Path

from pgha.model.rules import SECRETS

DATA = Path(__file__).parents[2] / "data" / "rendered.txt"

OF_A_CHECKOUT = r"^.*(pgha\.(config|checkout|passwords|passphrase|definition)|ssh-ed25519 A).*\n"


def told(rendered, root):
    """Every file, without what is another one in each checkout."""
    parts = [f"== {path}\n{content}" for path, content in sorted(rendered.files.items())]
    return re.sub(OF_A_CHECKOUT, "", "\n".join(parts).replace(str(root), "<root>"), flags=re.MULTILINE)


def test_one_machine_is_rendered_as_ever(rendering, root):
    secrets = {key: f"the {key}" for key in SECRETS}
    text = told(rendering(data_centers=2, nodes=1, process_max=2, **secrets), root)
    if os.environ.get("PGHA_WRITE"):
        DATA.write_text(text)
    assert text == DATA.read_text()
