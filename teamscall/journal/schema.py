"""The journal file: its tables, their versions, and how one becomes the next.

``PRAGMA user_version`` counts the migrations that a file has seen. Times are epoch
milliseconds; text that came from a peer was made printable and capped before it is here.
Only ``transcripts`` holds what was said in a call.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from teamscall.errors import InputError

_CALLER = """
    user_id TEXT NOT NULL DEFAULT '',
    tenant_id TEXT NOT NULL DEFAULT '',
    display_name TEXT NOT NULL DEFAULT '',
    user_principal_name TEXT NOT NULL DEFAULT '',
    phone_number TEXT NOT NULL DEFAULT '',
    teams_call_id TEXT NOT NULL DEFAULT ''
"""

# Whom a row of ``calls`` or ``decisions`` is about.
CALLER_COLUMNS = (
    "user_id, tenant_id, display_name, user_principal_name, phone_number, teams_call_id"
)

_VERSION_1 = (
    # A call id may come again after its call has ended, so it is no key.
    f"""
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        opened_ms INTEGER NOT NULL,
        closed_ms INTEGER,
        dialect TEXT NOT NULL DEFAULT '',
        direction TEXT NOT NULL DEFAULT '',
        engine TEXT NOT NULL DEFAULT '',
        address TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT '',
        ended_by TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        duration_ms INTEGER NOT NULL DEFAULT 0,
        frames_in INTEGER NOT NULL DEFAULT 0,
        frames_out INTEGER NOT NULL DEFAULT 0,
        dropped_in INTEGER NOT NULL DEFAULT 0,
        gated_in INTEGER NOT NULL DEFAULT 0,
        silence_in INTEGER NOT NULL DEFAULT 0,
        dropped_out INTEGER NOT NULL DEFAULT 0,
        underruns INTEGER NOT NULL DEFAULT 0,
        turns INTEGER NOT NULL DEFAULT 0,
        interruptions INTEGER NOT NULL DEFAULT 0,
        {_CALLER}
    )
    """,
    "CREATE INDEX calls_by_call_id ON calls (call_id)",
    "CREATE INDEX calls_by_opened ON calls (opened_ms)",
    "CREATE INDEX calls_open ON calls (call_id) WHERE closed_ms IS NULL",
    f"""
    CREATE TABLE decisions (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        dialect TEXT NOT NULL,
        asked_on TEXT NOT NULL,
        authorized INTEGER NOT NULL,
        strategy TEXT NOT NULL,
        reason TEXT NOT NULL,
        address TEXT NOT NULL,
        {_CALLER}
    )
    """,
    "CREATE INDEX decisions_by_call_id ON decisions (call_id)",
    "CREATE INDEX decisions_by_time ON decisions (wall_ms)",
    # Latencies count from the caller's last voiced frame; NULL: that stage did not occur.
    """
    CREATE TABLE turns (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        said_ms INTEGER NOT NULL,
        heard_ms INTEGER NOT NULL,
        endpoint_ms REAL,
        transcript_ms REAL,
        first_text_ms REAL,
        first_audio_ms REAL,
        first_frame_ms REAL
    )
    """,
    "CREATE INDEX turns_by_call_id ON turns (call_id)",
    "CREATE INDEX turns_by_time ON turns (wall_ms)",
    # kind: gate, recording, trouble, barge-in, carried-on, participants; the other columns
    # as the kind needs.
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        turn INTEGER,
        number INTEGER,
        ms REAL
    )
    """,
    "CREATE INDEX events_by_call_id ON events (call_id)",
    "CREATE INDEX events_by_time ON events (wall_ms)",
)

_VERSION_2 = (
    # What stages used of their models, as vendors count it. Turn 0 is the whole call, with
    # what belonged to no turn.
    """
    CREATE TABLE usage (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        stage TEXT NOT NULL,
        model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        audio_input_tokens INTEGER NOT NULL,
        audio_output_tokens INTEGER NOT NULL,
        audio_in_s REAL NOT NULL,
        audio_out_s REAL NOT NULL,
        characters INTEGER NOT NULL,
        cost REAL,
        currency TEXT NOT NULL
    )
    """,
    "CREATE INDEX usage_by_call_id ON usage (call_id)",
    "CREATE INDEX usage_by_time ON usage (wall_ms)",
    "ALTER TABLE events ADD COLUMN detected_ms REAL",  # of a barge-in: until it was paused
    "ALTER TABLE calls ADD COLUMN carried_on INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE calls ADD COLUMN speculated INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE calls ADD COLUMN thrown_away INTEGER NOT NULL DEFAULT 0",
)

_VERSION_3 = (
    # The calls that we place. The message is what is to be said, ours and not the callee's;
    # it is removed once it was delivered, or nobody has to be told that it was not.
    # tell: 0 nobody, 1 somebody is to be told that it was not delivered, 2 was told.
    """
    CREATE TABLE attempts (
        attempt TEXT PRIMARY KEY,
        call_id TEXT NOT NULL,
        target TEXT NOT NULL,
        mode TEXT NOT NULL,
        via TEXT NOT NULL,
        tenant TEXT NOT NULL,
        asked_by TEXT NOT NULL,
        asked_ms INTEGER NOT NULL,
        ring_until_ms INTEGER NOT NULL,
        state TEXT NOT NULL,
        outcome TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        answered_ms INTEGER,
        ended_ms INTEGER,
        message TEXT NOT NULL,
        tell INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX attempts_by_call_id ON attempts (call_id)",
    "CREATE INDEX attempts_by_time ON attempts (asked_ms)",
    "CREATE INDEX attempts_open ON attempts (attempt) WHERE ended_ms IS NULL OR tell = 1",
    # Who used the operator's door, and what came of it.
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        action TEXT NOT NULL,
        asked_by TEXT NOT NULL,
        result TEXT NOT NULL,
        detail TEXT NOT NULL
    )
    """,
    "CREATE INDEX audit_by_call_id ON audit (call_id)",
    "CREATE INDEX audit_by_time ON audit (wall_ms)",
    # What was said, only where journal.transcripts and the call's recording status allow it.
    """
    CREATE TABLE transcripts (
        id INTEGER PRIMARY KEY,
        call_id TEXT NOT NULL,
        wall_ms INTEGER NOT NULL,
        speaker TEXT NOT NULL,
        turn INTEGER,
        status TEXT NOT NULL,
        text TEXT NOT NULL,
        heard TEXT NOT NULL
    )
    """,
    "CREATE INDEX transcripts_by_call_id ON transcripts (call_id)",
    "CREATE INDEX transcripts_by_time ON transcripts (wall_ms)",
    # Who was refused has no call: the history looks for them by time.
    "CREATE INDEX decisions_denied ON decisions (wall_ms) WHERE authorized = 0",
    "CREATE TABLE switches (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "ALTER TABLE calls ADD COLUMN answered_ms INTEGER",  # of one that we placed
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3)
VERSION = len(MIGRATIONS)

# What is about calls, and when: what is removed with them, or when it is too old.
TIMED = (
    ("calls", "opened_ms"),
    ("decisions", "wall_ms"),
    ("turns", "wall_ms"),
    ("events", "wall_ms"),
    ("usage", "wall_ms"),
    ("attempts", "asked_ms"),
    ("audit", "wall_ms"),
    ("transcripts", "wall_ms"),
)


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations the file has seen; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to ``VERSION``, each step in a transaction of its own.

    Raises:
        InputError: a newer teamscall wrote the file.
        sqlite3.Error: it cannot be read or written.
    """
    refuse_newer(connection, path)
    for version in range(version_of(connection), VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``InputError`` when a newer teamscall wrote the file."""
    found = version_of(connection)
    if found > VERSION:
        raise InputError(
            f"The journal {path} has version {found}; this teamscall knows up to {VERSION}.",
            hint="Use the newer teamscall, or another journal.path.",
        )


def refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``InputError`` when the file wants migrating: reading must not write."""
    found = version_of(connection)
    if found < VERSION:
        raise InputError(
            f"The journal {path} has version {found}; this teamscall reads version {VERSION}.",
            hint="Start the bridge once: it brings the journal up to date.",
        )
