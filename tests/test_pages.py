"""The pages: named files exist, links lead to files, lines fit, and decisions have one form."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = ("docs/support.md", "docs/families.md")  # written by tests/support and tests/families
PAGES = sorted(
    path.relative_to(ROOT)
    for folder in ("docs", "benchmarks", "findings", ".github")
    for path in (ROOT / folder).rglob("*.md")
    if str(path.relative_to(ROOT)) not in WRITTEN
) + sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), ROOT / "mlflow" / "README.md"])
CODE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`((?:tests|findings|objectives|orchestrator|benchmarks|docs)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_lines_have_at_most_120_characters(page: Path) -> None:
    prose = CODE.sub("", (ROOT / page).read_text())
    assert [line for line in prose.splitlines() if len(line) > 120 and not line.lstrip().startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files(page: Path) -> None:
    targets = LINK.findall(CODE.sub("", (ROOT / page).read_text()))
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


@pytest.mark.parametrize("page", ["docs/upstream.md", "docs/architecture.md", "CONTRIBUTING.md"])
def test_named_files_exist(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text())
    assert named
    assert [name for name in named if "YYYY" not in name and not (ROOT / name).exists()] == []


def test_behaviour_of_other_software_names_a_test() -> None:
    rows = [row for row in (ROOT / "docs/upstream.md").read_text().splitlines() if row.startswith("|")]
    facts = [row for row in rows if not row.startswith(("|---", "| behaviour |"))]
    assert facts
    assert [row for row in facts if not re.search(r"`(tests/\S+\.py|findings/\S+\.sh)` \|$", row)] == []


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/decisions/index.md").read_text()
    assert set(re.findall(r"\((\d+\S*\.md)\)", index)) == {
        path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md")
    }


@pytest.mark.parametrize("path", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_has_date_and_parts(path: Path) -> None:
    page = path.read_text()
    assert re.search(r"^Date: 20\d\d-\d\d-\d\d$", page, re.MULTILINE)
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["Context", "Decision", "Consequences"]
