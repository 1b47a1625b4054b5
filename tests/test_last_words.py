"""What Snakemake says last: why each job failed."""

import os

from strongscale.jobs import last_words

SINCE_S = 1000.0


def log(results, path, text, written_s=SINCE_S + 1):
    file = results / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (written_s, written_s))


def test_the_reason_of_each_job_that_failed_is_one_line(tmp_path):
    cell = "quick/cells/weak/02workers/seed1"
    log(tmp_path, f"{cell}/launch.log", "10:00:00 INFO hm\n10:00:01 ERROR the node n1 lacks the package torch\n")
    log(tmp_path, "datasets/tiny/logs/dataset.log", "10:00:00 ERROR no split\n")
    log(tmp_path, "datasets/tiny/logs/ledger.log", "10:00:00 INFO 3 rows\n")
    log(tmp_path, "quick/logs/tables.log", "Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")
    log(tmp_path, "quick/logs/edge.log", "10:00:00 ERROR of yesterday\n", SINCE_S - 1)

    reasons = last_words.of_failures(tmp_path, SINCE_S)

    tables = f"{tmp_path / 'quick/logs/tables.log'}: KeyError: 'x'"
    assert sorted(reasons) == sorted(["no split", "the node n1 lacks the package torch", tables])
    assert last_words.page(reasons).splitlines()[1:] == ["Why it failed:", *(f"  {reason}" for reason in reasons)]


def test_without_a_reason_nothing_is_said():
    assert last_words.page([]) == ""
