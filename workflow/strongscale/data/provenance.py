"""Where the scans of a data set come from, in one line, with whom its publishers ask to be named."""

from strongscale.settings.datasets import Dataset

LIDC = (
    "LIDC-IDRI, The Cancer Imaging Archive, CC BY 3.0 (Armato et al., Medical Physics 38(2), 2011; "
    "doi:10.7937/K9/TCIA.2015.LO9QL9SX); crops and masks as published in PabloLION/ct-slicing"
)


def provenance(settings: Dataset) -> str:
    """What dataset.json and the quality page say."""
    if settings.phantom:
        return f"phantom scans, seed {settings.phantom.seed}"
    return LIDC if settings.download == "lidc" else f"scans of {settings.folder}"
