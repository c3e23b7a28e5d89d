"""PostgreSQL of the mesh: the log of record. No business decisions here.

The transaction rule: every function takes a connection and runs inside the transaction its caller has opened; it never
begins, commits or rolls back one. What must be true together is done in one transaction of the caller, and hints are
published after its commit. Whoever locks both locks the intent's row first, then its execution's.

Every change of an intent's state goes through `intents.apply`: the row and the event that tells of it, with the next
sequence, in one transaction.
"""
