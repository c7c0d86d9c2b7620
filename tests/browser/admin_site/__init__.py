"""The demo's admin under a strict policy, on several servers, with streams to be watched."""
