"""Numbers about domains and features, numpy only."""

from sktransfer.metrics._discrepancy import coral_distance, mmd_distance, proxy_a_distance

__all__ = ["coral_distance", "mmd_distance", "proxy_a_distance"]
