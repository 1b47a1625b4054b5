"""The JSON Schema for editors is made from the settings' own schema, and refuses what any one key can tell."""

import json

import pytest
import yaml
from conftest import ROOT
from jsonschema import Draft7Validator
from test_config import RAW, changed

from strongscale.common.errors import UserError
from strongscale.common.schema import plain
from strongscale.settings.config_file import parse
from strongscale.settings.editor_schema import document, main

VALIDATOR = Draft7Validator(document())


def test_the_schema_is_up_to_date(tmp_path):
    main([str(tmp_path / "config.schema.json")])
    assert (ROOT / "config.schema.json").read_text() == (tmp_path / "config.schema.json").read_text(), "run `make docs`"


def test_it_is_a_schema_of_draft_7():
    Draft7Validator.check_schema(document())


@pytest.mark.parametrize("name", ["config.yaml", "studies/readings.yaml"])
def test_the_projects_own_studies_are_valid_and_name_the_schema(name):
    text = (ROOT / name).read_text()
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []
    modeline, schema = text.splitlines()[0].split("$schema=")
    assert modeline == "# yaml-language-server: "
    assert (ROOT / name).parent.joinpath(schema).resolve() == ROOT / "config.schema.json"


def test_every_default_is_valid():
    resolved = json.loads(json.dumps(plain(parse(RAW))))
    assert [error.message for error in VALIDATOR.iter_errors(resolved)] == []


def test_a_number_that_yaml_reads_as_text_is_valid():
    assert VALIDATOR.is_valid(changed("studies.quick.training.learning_rate", "1e-3"))


MISTAKES = [
    ("stduy", "quick"),
    ("studies.quick.trainin", {}),
    ("studies.quick.strategies.weak.worker", [2]),
    ("studies.quick.training.batch_size", "many"),
    ("studies.quick.training.batch_size", 0),
    ("studies.quick.training.batch_size", True),
    ("studies.quick.training.learning_rate", -1),
    ("studies.quick.training.learning_rate", "fast"),
    ("studies.quick.training.target", {"sequential_epochs": 0}),
    ("studies.quick.training.target", {"sequential_epoch": 3}),
    ("studies.quick.training.beta1", 1),
    ("studies.quick.max_ranks", 0),
    ("studies.quick.clock", "sundial"),
    ("studies.quick.network", "pigeons"),
    ("studies.quick.network", {"latency_s": 1}),
    ("studies.quick.model.dimensions", True),
    ("studies.quick.workers", []),
    ("studies.quick.workers", [2, 2]),
    ("studies.quick.seeds", [-1]),
    ("studies.quick", {"clock": "wall"}),
    ("datasets.phantom_small.phantom.size_mm", [100, 100]),
    ("datasets.luna16.cubes.diameters", 0.5),
    ("datasets", {}),
]


@pytest.mark.parametrize(("key", "value"), MISTAKES)
def test_a_mistake_of_one_key_is_refused_in_the_editor_and_by_the_parser(key, value):
    raw = changed(key, value)
    assert not VALIDATOR.is_valid(raw)
    with pytest.raises(UserError):
        parse(raw)


def test_a_study_that_is_like_another_may_leave_out_what_is_needed():
    assert VALIDATOR.is_valid(changed("studies.mine", {"like": "quick", "seeds": [2]}))
    assert not VALIDATOR.is_valid(changed("studies.mine", {"seeds": [2]}))
