"""What Snakemake is told of dear work: small, the same each time, and gone where the work is."""

import json

from strongscale.jobs import receipts


def write(folder, name="result.json", content="{}"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_receipt_names_and_digests_what_was_made(tmp_path):
    made = write(tmp_path, content="abc")
    receipts.write(tmp_path / "receipt.json", [made])
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert json.loads((tmp_path / "receipt.json").read_text()) == {"files": {str(made): sha256}}


def test_a_folder_is_named_file_by_file(tmp_path):
    files = [write(tmp_path / "scans", name) for name in ("b.raw", "a.mhd")]
    receipts.write(tmp_path / "receipt.json", [tmp_path / "scans"])
    assert set(json.loads((tmp_path / "receipt.json").read_text())["files"]) == set(map(str, files))


def test_the_same_content_gives_the_same_receipt(tmp_path):
    receipts.write(tmp_path / "receipt.json", [write(tmp_path)])
    before = (tmp_path / "receipt.json").read_bytes()
    receipts.write(tmp_path / "receipt.json", [write(tmp_path)])
    assert (tmp_path / "receipt.json").read_bytes() == before


def test_receipts_of_what_is_lost_are_dropped_and_no_others(tmp_path):
    cell, torn = tmp_path / "quick/cells/weak/02workers/seed1", tmp_path / "quick/cells/weak/04workers/seed1"
    made = {cell / "receipt.json": write(cell), tmp_path / "quick/receipts/network.json": write(tmp_path, "network")}
    made[tmp_path / "datasets/tiny/receipts/cubes.all.0.json"] = write(tmp_path, "cubes.npy")
    for receipt, file in made.items():
        receipts.write(receipt, [file])
    write(torn, "receipt.json", "{")
    (cell / "result.json").unlink()
    (tmp_path / "cubes.npy").unlink()

    dropped = {cell / "receipt.json", torn / "receipt.json", tmp_path / "datasets/tiny/receipts/cubes.all.0.json"}
    assert set(receipts.drop_hollow(tmp_path)) == dropped
    assert [path for path in {*made, torn / "receipt.json"} if path.exists()] == [
        tmp_path / "quick/receipts/network.json"
    ]
