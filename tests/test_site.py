"""site.yaml: its mistakes are told in one line."""

import pytest
from conftest import ROOT

from strongscale.common.errors import UserError
from strongscale.settings.site import Site, read


@pytest.fixture
def read_text(tmp_path):
    """A function that reads a site.yaml with this text."""

    def read_it(text):
        path = tmp_path / "site.yaml"
        path.write_text(text)
        return read(str(path))

    return read_it


def test_without_the_usual_file_everything_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read(None) == Site()
    (tmp_path / "site.yaml").write_text("queue: long\n")
    assert read(None) == Site(queue="long")


def test_a_file_that_somebody_named_must_be_there(tmp_path):
    with pytest.raises(UserError, match="away.yaml: can't be read"):
        read(str(tmp_path / "away.yaml"))


def test_an_empty_file_is_the_default(read_text):
    assert read_text("# nothing\n") == Site()


def test_values_are_read(read_text):
    site = read_text("queue: long\nmodules: [cuda/12.4]\nenvironment: {NCCL_SOCKET_IFNAME: ib0}\nlongest_minutes: 60\n")
    assert site == Site(
        queue="long", modules=("cuda/12.4",), environment={"NCCL_SOCKET_IFNAME": "ib0"}, longest_minutes=60
    )


def test_the_example_is_allowed():
    assert read(str(ROOT / "site.example.yaml")) == Site(longest_minutes=1440)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queu: long\n", "queu"),
        ("gpus_per_host: 0\n", "gpus_per_host"),
        ("gpus_per_host: two\n", "gpus_per_host"),
        ("longest_minutes: 1\n", "longest_minutes"),
        ("queue: long; rm\n", "queue"),
        ("account: $(id)\n", "account"),
        ("environment: {MY-NAME: 1}\n", "environment"),
        ("environment: {A B: x}\n", "environment"),
        ("- queue\n", ""),
        ("queue: [long\n", "can't be read"),
        ("queue: \x01\n", "can't be read"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_key(read_text, tmp_path, text, words):
    with pytest.raises(UserError) as mistake:
        read_text(text)
    message = str(mistake.value)
    assert message.startswith(f"{tmp_path / 'site.yaml'}: ")
    assert words in message
    assert "\n" not in message


def test_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "site.yaml").mkdir()
    with pytest.raises(UserError, match=r"site\.yaml: can't be read"):
        read(tmp_path / "site.yaml")
