"""A table of runs is read as it was meant, or refused in one line that says where and what is allowed."""

import pytest

from strongscale.advice.table import read_runs
from strongscale.common.errors import UserError


def written(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_samples_and_epochs_become_steps(tmp_path):
    samples = read_runs(written(tmp_path, "batch,samples\n10,1000\n20,1200\n40,1600\n"))
    assert samples.steps_N.tolist() == [100, 60, 40]
    epochs = read_runs(written(tmp_path, "batch,epochs\n10,2\n20,2.4\n40,3.2\n"), 500)
    assert epochs.steps_N.tolist() == pytest.approx([100, 60, 40])


def test_runs_that_did_not_arrive_are_marked(tmp_path):
    runs = read_runs(written(tmp_path, "batch,steps,reached,run\n10,100,1,a\n10,90,0,b\n20,60,1,a\n40,40,1,a\n"))
    assert runs.reached_N.tolist() == [True, False, True, True]


def test_spaces_empty_lines_and_a_mark_of_byte_order_do_no_harm(tmp_path):
    runs = read_runs(written(tmp_path, "\ufeffbatch, steps\n10, 100\n\n20, 60\n40, 40\n,\n"))
    assert runs.batches_N.tolist() == [10, 20, 40]


def test_columns_that_are_not_used_are_named(tmp_path, caplog):
    read_runs(written(tmp_path, "batch,steps,Reached\n10,100,1\n20,60,1\n40,40,0\n"))
    assert "not used are the columns Reached" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a table"),
        ("steps\n1\n", "its columns are steps; allowed: batch, and one of steps, samples, epochs"),
        ("batch,run\n1,1\n", "allowed: batch, and one of"),
        ("batch,steps,samples\n1,1,1\n", "allowed: batch, and one of"),
        ("batch,epochs\n1,1\n2,1\n", "--samples-in-epoch"),
        ("batch,steps\n8,9\n16,8\n", r"runs of 2 batch sizes \(8, 16\); allowed: at least 3"),
        ("batch,steps\n8,9\n8,8\n8,7\n", r"runs of 1 batch sizes \(8\)"),
        ("batch,steps\n", "runs of 0 batch sizes"),
        ("batch,steps\n8,9\n16,9\n32,9\n", "all runs have 9 steps"),
        ("batch,steps\n8,9\n\n0,8\n32,7\n", "line 4: batch is '0'; allowed: a number above 0"),
        ("batch,steps\n8,9\n-4,8\n32,7\n", "line 3: batch is '-4'"),
        ("batch,steps\n8,9\n16,many\n32,7\n", "line 3: steps is 'many'"),
        ("batch,steps\n8,9\n16,\n32,7\n", "line 3: steps is ''"),
        ("batch,steps\n8,9\n16\n32,7\n", "line 3: steps is ''"),
        ("batch,steps\n8,9\n16,inf\n32,7\n", "line 3: steps is 'inf'"),
        ("batch,steps\n8,9\n16,nan\n32,7\n", "line 3: steps is 'nan'"),
        ("batch,steps,reached\n8,9,1\n16,8,yes\n32,7,1\n", "line 3: reached is 'yes'; allowed: 1, or 0"),
        ("batch,steps,run\n8,9,1\n16,8,1\n8,7,1\n", "line 4: run '1' of batch 8 stands in line 2 already"),
        ("batch,steps\n8,9,1\n16,8,1\n", "more cells than its header"),
    ],
)
def test_what_no_law_can_be_made_of_is_refused(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as refused:
        read_runs(written(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_samples_of_an_epoch_without_epochs_are_refused(tmp_path):
    with pytest.raises(UserError, match="only with it"):
        read_runs(written(tmp_path, "batch,steps\n8,9\n16,8\n32,7\n"), 100)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(UserError, match="not a table"):
        read_runs(tmp_path / "binary.csv")
