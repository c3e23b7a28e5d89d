"""Series of the intake alone; those with the product's names stand in rpc/metrics.py."""

from prometheus_client import Counter, Histogram

GROUP_SIZE = Histogram(
    "intake_group_size", "Accepts committed together", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
GROUP_SECONDS = Histogram(
    "intake_group_seconds",
    "From the beginning of a group's transaction to its commit",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CACHE_READS = Counter(
    "intake_cache_reads_total", "Checks answered from memory (hit) or by the chain (miss)", ["cache", "result"]
)
POLICY_CHANGES = Counter("intake_policy_changes_total", "Changes of the policy file by their result", ["result"])
for _result in ("applied", "refused"):
    POLICY_CHANGES.labels(_result)
RETENTION_REMOVED = Counter("intake_retention_removed_total", "Intents taken out of the hot tables")
