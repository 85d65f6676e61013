"""The audit oracle: victims whose audit events are judged while hostile programs talk to them.

``python -m tests.attacks.audit`` runs it; :mod:`tests.attacks.audit.watch` says what is a failure.
"""
