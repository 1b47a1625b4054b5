"""The table of digests fails where they differ."""

import json

import pytest

from strongscale.analysis import exactness
from strongscale.common.errors import UserError


def write_case(root, strategy, clock, workers, ranks, digest, earlier=()):
    folder = root / strategy / clock / f"{workers:02d}workers" / f"{ranks}ranks"
    folder.mkdir(parents=True)
    history = [{"ranks": number} for number in (*earlier, ranks)]
    result = {"ranks": ranks, "epochs": 1, "device": "CPU", "history": history}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "epochs.csv").write_text(f"epoch,weights_hash\n1,{digest}\n")
    return str(folder / "result.json")


@pytest.fixture
def make_table(tmp_path):
    def make(digests, earlier=(), strategy="strong", workers=4):
        cases = [(strategy, "wall", 1, 1), (strategy, "emulated", workers, 2)]
        results = [write_case(tmp_path, *case, digest, earlier) for case, digest in zip(cases, digests, strict=True)]
        (tmp_path / "cost.csv").write_text("workers,microbatch,exact_over_fast\n1,2,1.5\n4,2,1.25\n")
        exactness.main(["table", *results, "--cost", str(tmp_path / "cost.csv"), "--output", str(tmp_path / "table")])
        return (tmp_path / "table.md").read_text()

    return make


def test_equal_digests_are_said_to_be_equal_and_their_cost_stands_beside_them(make_table):
    page = make_table(["abc", "abc"])
    assert "All digests of a path are equal" in page
    assert "1.5 " in page


def test_different_digests_are_an_error(make_table):
    with pytest.raises(UserError, match="the digests differ"):
        make_table(["abc", "abd"])


def test_another_update_rule_has_a_path_for_each_number_of_workers(make_table):
    assert "All digests of a path are equal" in make_table(["abc", "abd"], strategy="sma")


def test_another_update_rule_has_one_digest_for_all_ranks(make_table):
    with pytest.raises(UserError, match="the digests differ"):
        make_table(["abc", "abd"], strategy="sma", workers=1)


def test_a_case_that_was_partly_made_on_other_ranks_proves_nothing(make_table):
    with pytest.raises(UserError, match="1ranks/result.json: made on 1 and 3 ranks, not on 1; remove the folder"):
        make_table(["abc", "abc"], earlier=[3])
