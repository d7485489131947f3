//! Events in the database: kept for 30 days, the same event counted rather than kept twice.

use rusqlite::{Connection, params};

use crate::{Event, store::EventFilter};

/// How long an event is kept after it was last seen.
const RETENTION_SECONDS: i64 = 30 * 24 * 3600;
/// Most events kept.
const LIMIT: i64 = 10_000;

/// Keeps the event, within a transaction; it gets a new number even when it was seen before, so that followers notice.
pub(super) fn record(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    let about = &event.involved_object.reference;
    let (uid, mark) = (&event.involved_object.uid, event.mark());
    let identity = format!("{about}\n{uid}\n{}\n{}{mark}", event.reason, event.message);
    let now = event.timestamp.as_second();
    let body = |count| serde_json::to_string(&Event { count, ..event.clone() }).unwrap_or_default();
    let sql = "INSERT INTO events (identity, kind, namespace, name, last_seen, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (identity) DO NOTHING";
    let values = params![identity, about.kind, about.namespace, about.name, now, body(1)];
    // Most are new.
    let number = match connection.prepare_cached(sql)?.execute(values)? {
        0 => again(connection, &identity, now, body)?,
        _ => connection.last_insert_rowid(),
    };
    if number % 64 == 0 {
        // Numbers grow with time: the old ones are the first, and nobody has to look at the others.
        let sql = "DELETE FROM events WHERE number < \
                   max(?2, (SELECT number FROM events WHERE last_seen >= ?1 ORDER BY number LIMIT 1))";
        connection.prepare_cached(sql)?.execute(params![now - RETENTION_SECONDS, number - LIMIT + 1])?;
    }
    Ok(())
}

/// Counts an event that was seen before, under a new number: the highest so far and one.
fn again(connection: &Connection, identity: &str, now: i64, body: impl Fn(u64) -> String) -> rusqlite::Result<i64> {
    let sql = "SELECT body FROM events WHERE identity = ?1";
    let before: String = connection.prepare_cached(sql)?.query_row([identity], |row| row.get(0))?;
    let seen = serde_json::from_str::<Event>(&before).map_or(0, |event| event.count);
    let sql = "UPDATE events SET number = (SELECT max(number) + 1 FROM events), last_seen = ?2, body = ?3 \
               WHERE identity = ?1 RETURNING number";
    connection.prepare_cached(sql)?.query_row(params![identity, now, body(seen + 1)], |row| row.get(0))
}

/// The events asked for, oldest first.
pub(super) fn list(connection: &Connection, filter: &EventFilter) -> rusqlite::Result<Vec<Event>> {
    let sql = "SELECT body FROM events WHERE (?1 IS NULL OR kind = ?1 COLLATE NOCASE) \
               AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3) ORDER BY number";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![filter.kind, filter.namespace, filter.name], |row| row.get::<_, String>(0))?;
    let mut events = Vec::new();
    for body in rows {
        events.extend(serde_json::from_str::<Event>(&body?).ok());
    }
    Ok(events)
}
