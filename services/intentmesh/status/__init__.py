"""The status service: what has become of an intent, asked once or watched.

    intent_events ──▶ Hub (histories of watched intents) ──▶ WatchIntent
         │  ▲ stamping                                          readers pull by a cursor, each at its own pace
         └──▶ Feed (the newest stretch of the feed) ─────────▶ WatchIntents

Readers never have queues of their own. Each holds a cursor into bytes that all share, and falls back to the store
where the shared stretch no longer reaches: so a slow one costs nobody anything, and nothing can be skipped. Hints only
make the shared stretch grow sooner than the poll would.
"""
