"""The contract pipeline: building, proving, deploying and verifying the contracts.

Two halves. The gates (`gates/`, `audit`, `mutation`) look at the sources and run the tools that judge them. The
deployment (`deployment`, `verification`, `record`) puts what passed on chains and proves that it stands there.
"""
