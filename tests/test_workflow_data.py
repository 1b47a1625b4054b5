"""The data set as a user meets it: own scans of every kind, damaged, missing, or to be downloaded."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from mask_fixtures import ball, write_nodule
from scan_fixtures import FORMS, write_dicom
from workflow_fixtures import DATASET, fingerprint, jobs_of, plan, snakemake, write_config

from strongscale.data.download.lidc_annotations import describe
from strongscale.data.masked import load_masked
from strongscale.data.scans import open_scan

MADE = f"{DATASET}/receipts/dataset.json"
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}  # nobody listens there


def use_folder(folder, **settings):
    """Change a configuration to take the scans of a folder."""

    def change(config):
        kept = {key: config["datasets"]["tiny"][key] for key in ("num_validation", "cubes")}
        config["datasets"]["tiny"] = kept | {"folder": str(folder), "subsets": [0, 1]} | settings

    return change


def make_dataset(work, *arguments, **variables):
    """Run the workflow up to the data set; the finished process."""
    return snakemake(work, MADE, *arguments, **variables)


def copy_scans(finished, folder):
    """Copy the artificial scans, as if they were a user's own."""
    return Path(shutil.copytree(finished.folder / DATASET / "scans", folder, ignore=shutil.ignore_patterns(".*")))


def refusal(process, log):
    """The one line of a stage that refused; the user sees it on the terminal, too."""
    assert process.returncode != 0
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0] in process.stdout
    assert "Traceback" not in process.stdout
    return lines[0]


def cubes(folder):
    """The cubes of the data set in a working folder."""
    return np.load(folder / DATASET / "cubes.npy")


def manifest(folder):
    return pd.read_csv(folder / DATASET / "manifest.csv")


def identity(folder):
    """The hash of the data set in a working folder."""
    return json.loads((folder / DATASET / "dataset.json").read_text())["hash"]


def state_of(folder):
    """Changes whenever anything in a folder does."""
    return {path: fingerprint(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scans(finished, tmp_path):
    """A user's own scans."""
    return copy_scans(finished, tmp_path / "my scans")


# --- damaged


@dataclass(frozen=True)
class Damaged:
    """A run on two damaged scans: what was said, and the scans' seriesuids."""

    work: Path
    scans: Path
    seriesuids: set[str]
    process: CompletedProcess

    @property
    def made(self):
        return self.work / DATASET


@pytest.fixture(scope="module")
def damaged(finished, tmp_path_factory):
    """One scan cut short and one without its voxels, in two subsets. To be read, but not changed."""
    folder = tmp_path_factory.mktemp("damaged")
    scans = copy_scans(finished, folder / "scans")
    short, lacking = (min((scans / subset).glob("*.raw")) for subset in ("subset0", "subset1"))
    os.truncate(short, short.stat().st_size - 100)
    lacking.unlink()
    work = folder / "work"
    write_config(work, use_folder(scans))
    return Damaged(work, scans, {short.stem, lacking.stem}, make_dataset(work))


def test_damaged_scans_are_told_of_and_no_data_set_is_made(damaged):
    message = refusal(damaged.process, damaged.made / "logs" / "dataset.log")
    assert "nodules lost" in message
    assert f"{damaged.scans}/subset" in message
    assert any(seriesuid in message for seriesuid in damaged.seriesuids)
    assert {path.name for path in damaged.made.iterdir()} == {"cubes", "ledger.csv", "logs", "receipts"}
    assert not (damaged.work / MADE).exists()


def test_the_ledger_names_each_damaged_scan_and_stays(damaged, finished):
    ledger, whole = (pd.read_csv(folder / DATASET / "ledger.csv") for folder in (damaged.work, finished.folder))
    lost = ledger[ledger["lost"]]
    assert set(lost["seriesuid"]) == damaged.seriesuids
    assert all(seriesuid in detail for seriesuid, detail in zip(lost["seriesuid"], lost["detail"], strict=True))
    others = ~ledger["lost"]
    assert len(ledger) == len(whole)
    assert ledger[others]["state"].tolist() == whole[others]["state"].tolist()


def test_tolerated_losses_are_left_out_and_change_nothing_else(damaged, finished, tmp_path):
    work = Path(shutil.copytree(damaged.work, tmp_path / "work"))
    lost = int(pd.read_csv(damaged.made / "ledger.csv")["lost"].sum())
    assert f"set tolerated_losses: {lost} to go on" in damaged.process.stdout
    whole = manifest(finished.folder)["seriesuid"]
    kept = ~whole.isin(damaged.seriesuids).to_numpy()
    of_one_scan = int(whole[kept].value_counts().iloc[0])
    write_config(work, use_folder(damaged.scans, tolerated_losses=lost, num_validation=of_one_scan))

    assert jobs_of(make_dataset(work)).rules == {"dataset"}

    assert (~kept).sum() == lost
    np.testing.assert_array_equal(cubes(work), cubes(finished.folder)[kept])
    assert (manifest(work)["split"] == "validation").sum() == of_one_scan


def test_mended_scans_are_cut_again_as_the_message_says(damaged, finished, tmp_path):
    work = Path(shutil.copytree(damaged.work, tmp_path / "work"))
    scans = Path(shutil.copytree(damaged.scans, tmp_path / "scans"))
    for path in (finished.folder / DATASET / "scans").glob("subset*/*.raw"):
        shutil.copyfile(path, scans / path.parent.name / path.name)  # a folder's time doesn't tell of it
    assert "run again with --forcerun cubes" in damaged.process.stdout
    write_config(work, use_folder(scans))

    process = make_dataset(work, "--forcerun", "cubes")

    assert process.returncode == 0, process.stdout
    assert identity(work) == identity(finished.folder)


def empty_subset(scans):
    for path in (scans / "subset1").iterdir():
        path.unlink()
    return "subset1"


def drop_column(scans):
    path = scans / "annotations.csv"
    pd.read_csv(path).drop(columns="diameter_mm").to_csv(path, index=False)
    return "annotations.csv"


@pytest.mark.parametrize("damage", [empty_subset, drop_column])
def test_a_folder_of_no_use_is_named_and_nothing_is_made(scans, tmp_path, damage):
    named = damage(scans)
    work = tmp_path / "work"
    write_config(work, use_folder(scans))

    process = make_dataset(work)

    made = work / DATASET
    assert f"{scans}/{named}: " in refusal(process, made / "logs" / "subset1.0.cubes.log")
    assert not list((made / "cubes").glob("*subset1*"))
    assert not list(made.glob("*.*")) + list(made.glob("receipts/*subset1*"))


def test_missing_scans_are_named_and_nothing_is_made(scans, tmp_path):
    shutil.rmtree(scans / "subset1")
    (scans / "annotations_excluded.csv").unlink()
    work = tmp_path / "work"
    write_config(work, use_folder(scans))

    process = make_dataset(work)

    made = work / DATASET
    for name, remedy in (("subset1", "`subsets`"), ("annotations_excluded.csv", "minimum_readers: 3")):
        message = refusal(process, made / "logs" / f"{name}.missing.log")
        assert f"{scans / name}: not there" in message
        assert f"into {scans}" in message
        assert remedy in message
    assert [path for path in made.rglob("*") if path.is_file() and path.suffix != ".log"] == []


def test_a_missing_folder_of_scans_is_named_once(tmp_path):
    scans, work = tmp_path / "nowhere", tmp_path / "work"
    write_config(work, use_folder(scans))

    process = make_dataset(work)

    logs = list((work / DATASET / "logs").glob("*.missing.log"))
    assert [path.name for path in logs] == ["all.missing.log"]
    message = refusal(process, logs[0])
    assert f"{scans}: not there" in message
    assert f"into {scans}" in message
    assert not scans.exists()


# --- of other forms


def test_scans_without_subset_folders_in_two_jobs_are_the_same_data_set(finished, scans, tmp_path):
    for path in scans.glob("subset*/*"):
        path.rename(scans / path.name)
    for subset in scans.glob("subset*"):
        subset.rmdir()
    work = tmp_path / "work"
    write_config(work, use_folder(scans, subsets=None, jobs_per_subset=2))

    made = jobs_of(make_dataset(work))

    assert len(made.outputs["cubes"]) == 2
    assert all(len(np.load(path)) for path in (work / DATASET / "cubes").glob("all.*.npy"))
    assert identity(work) == identity(finished.folder)


def convert(source, folder, form):
    """Write the scan in one of `FORMS`, its seriesuid the same."""
    if form == "dicom":
        write_dicom(folder / "patient" / "study", open_scan(source), series=source.stem)
        return
    path = folder / f"{source.stem}{'.mhd' if form == '.zraw' else form}"
    SimpleITK.WriteImage(SimpleITK.ReadImage(source), path, useCompression=form in (".zraw", ".mha"))


def test_scans_of_every_kind_give_the_same_cubes(finished, tmp_path):
    scans, work = tmp_path / "scans", tmp_path / "work"
    source = finished.folder / DATASET / "scans"
    scans.mkdir()
    for path in source.glob("*.csv"):
        shutil.copy(path, scans)
    for path, form in zip(sorted(source.glob("*/*.mhd")), FORMS, strict=True):
        convert(path, scans, form)
    write_config(work, use_folder(scans, subsets=None))

    process = make_dataset(work)

    assert process.returncode == 0, process.stdout
    assert manifest(work)["seriesuid"].tolist() == manifest(finished.folder)["seriesuid"].tolist()
    np.testing.assert_allclose(cubes(work), cubes(finished.folder), atol=2e-4)  # a HU or two of the window


# --- downloaded


def test_just_the_subsets_asked_for_are_to_be_downloaded(tmp_path):
    scans, work = tmp_path / "scans", tmp_path / "work"
    write_config(work, use_folder(scans, download="luna16", subsets=[3, 8]))

    planned = plan(work)

    items = ("subset3", "subset8", "annotations.csv", "annotations_excluded.csv")
    assert sorted(planned.outputs["download"]) == sorted([f"{DATASET}/download/{item}.json"] for item in items)
    assert len(planned.outputs["cubes"]) == 2
    assert not scans.exists()
    assert not (work / "results").exists()


def test_the_crops_of_lidc_are_one_download_for_all_that_reads_them(tmp_path):
    cubes = {"voxels": 8, "minimum_readers": 3, "masks": True}
    write_config(tmp_path, use_folder(tmp_path / "scans", download="lidc", subsets=[0], cubes=cubes))

    planned = plan(tmp_path, MADE)

    assert planned.outputs["download"] == [[f"{DATASET}/download/lidc.json"]]
    assert len(planned.outputs["cubes"]) == 1
    assert "missing_scans" not in planned.rules


def test_missing_masks_are_named(tmp_path):
    cubes = {"voxels": 8, "minimum_readers": 3, "masks": True}
    write_nodule(tmp_path / "scans", "A_R_1", ball())
    describe(tmp_path / "scans", ["A_R_1.nii.gz"])
    shutil.rmtree(tmp_path / "scans" / "masks")
    write_config(tmp_path, use_folder(tmp_path / "scans", subsets=[0], cubes=cubes))

    process = make_dataset(tmp_path)

    message = refusal(process, tmp_path / DATASET / "logs" / "masks.missing.log")
    assert f"{tmp_path}/scans/masks: not there" in message
    assert "`cubes: {masks: false}`" in message


def test_masks_of_a_phantom_are_made_and_known_by_their_receipts(tmp_path):
    def masked(config):
        config["datasets"]["tiny"]["cubes"] = {"voxels": 16, "masks": True}

    write_config(tmp_path, masked)

    process = make_dataset(tmp_path)

    assert process.returncode == 0, process.stdout
    assert load_masked(tmp_path / DATASET).masks_NDHW.any(axis=(1, 2, 3)).all()
    named = {
        Path(file).name
        for path in (tmp_path / DATASET / "receipts").glob("*.json")
        for file in json.loads(path.read_text())["files"]
    }
    assert {"masks.npy", "subset0.0.masks.npy", "subset1.0.masks.npy"} <= named
    (tmp_path / DATASET / "masks.npy").unlink()
    assert jobs_of(make_dataset(tmp_path)).rules == {"dataset"}


def test_scans_that_are_there_need_no_network(finished, scans, tmp_path):
    shutil.rmtree(scans / "subset0")
    counts = manifest(finished.folder).query("subset == 'subset1'")["seriesuid"].value_counts()
    settings = {"download": "luna16", "subsets": [1], "partial": True, "num_validation": int(counts.iloc[0])}
    work = tmp_path / "work"
    write_config(work, use_folder(scans, **settings))
    before = state_of(scans)

    process = make_dataset(work, **NO_NETWORK)

    assert process.returncode == 0, process.stdout
    markers = [json.loads(path.read_text()) for path in sorted((work / DATASET / "download").iterdir())]
    items = ("annotations.csv", "annotations_excluded.csv", "subset1")
    assert markers == [{"item": item, "already_there": True} for item in items]
    assert set(manifest(work)["seriesuid"]) == set(counts.index)
    assert state_of(scans) == before
    assert plan(work, MADE).outputs == {}


# --- where things lie


def test_spaces_in_paths_are_fine(scans, tmp_path):
    work = tmp_path / "my work"

    def shorten(config):
        use_folder(scans)(config)
        study = {"network": "gigabit", "workers": [1, 2], "seeds": [1], "max_ranks": 2, "strategies": {"strong": {}}}
        config["studies"]["tiny"] |= study
        config["studies"]["tiny"]["training"] |= {"learning_rate": 0.001, "target": None}
        config["studies"]["tiny"]["edge"] = {"rates": [0.003], "epochs": 1}
        del config["studies"]["tiny_wall"]

    write_config(work, shorten, name="my study.yaml")
    process = snakemake(work, config="my study.yaml")

    assert process.returncode == 0, process.stdout
    made = work / "results" / "tiny"
    promised = ("claims.csv", "figures/figure1.png", "nodules/montage.png")
    assert [name for name in promised if not (made / name).is_file()] == []
    assert (work / DATASET / "quality" / "quality.html").is_file()
