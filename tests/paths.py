"""Where tests find the house and what lies beside them."""

from pathlib import Path

HOUSE = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
SHARED = HOUSE.parent / "shared"  # what does not ship: tests skip where it is not
