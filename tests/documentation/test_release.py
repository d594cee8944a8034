"""What a release says of itself in several files says the same."""

from __future__ import annotations

import re
import tomllib

import yaml

from tests.documentation.blocks import PROJECT


def test_version_and_date_agree() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    released = re.findall(r"^## (\d\S*) - (\d{4}-\d{2}-\d{2})$", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == (version, cited["date-released"])
    assert cited["version"] == version


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.+)$", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased"
