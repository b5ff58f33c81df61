"""From points to laws: scaling laws as functions, least-squares and robust fits, and intervals."""
