"""Where tests find the house, what they ship, and the raw recordings that do not ship."""

import os
from pathlib import Path

HOUSE = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
# Datasets as their authors ship them (ecg/) and the study's text (sources/); tests skip, and say so, without them.
RAW = Path(os.environ.get("ECGSCALE_TEST_RAW") or HOUSE.parent / "shared")
NO_RAW = "set ECGSCALE_TEST_RAW to the folder that holds them"
