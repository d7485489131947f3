//! The tables, and how files of earlier versions are brought up to date.
//!
//! Tables whose rows hold whole objects have a number for their key, and an index beside. Were the names the key (`WITHOUT
//! ROWID`), a row of more than a quarter of a page would spill into pages of its own, which each update would free and take
//! again: two to three times as much would be written. Source: <https://sqlite.org/withoutrowid.html>, section 6.

use rusqlite::Connection;

/// Version of the tables, in `user_version`.
const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS objects (
  number INTEGER PRIMARY KEY,
  api_group TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  version INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL,
  UNIQUE (api_group, kind, namespace, name));
CREATE INDEX IF NOT EXISTS objects_by_version ON objects (version);
CREATE TABLE IF NOT EXISTS applied (
  number INTEGER PRIMARY KEY,
  api_group TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, manager TEXT NOT NULL,
  source TEXT NOT NULL DEFAULT '', body TEXT NOT NULL,
  UNIQUE (api_group, kind, namespace, name, manager));
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, namespace TEXT NOT NULL,
  name TEXT NOT NULL, last_seen INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
  number INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, UNIQUE (bucket, key));
";

/// The tables that had their names for a key in version 1, with their columns.
const RENUMBERED: [(&str, &str); 3] = [
    ("objects", "api_group, kind, namespace, name, version, deleted, body"),
    ("applied", "api_group, kind, namespace, name, manager, source, body"),
    ("records", "bucket, key, value"),
];

/// Creates the tables of a new file, and brings those of an earlier version up to date: all of it, or nothing.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    let known = version(connection)?;
    if known > VERSION {
        return Ok(());
    }
    if known == VERSION {
        // Files of this version had it for a while. Nobody looked anything up by it, and each event wrote it.
        return connection.execute_batch("DROP INDEX IF EXISTS events_by_object");
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been first.
    let found = version(&transaction)?;
    if found == 1 {
        transaction.execute_batch("DROP INDEX objects_by_version")?;
        for (table, _) in RENUMBERED {
            transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_1"))?;
        }
    }
    transaction.execute_batch(TABLES)?;
    if found == 1 {
        for (table, columns) in RENUMBERED {
            transaction.execute_batch(&format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_1; DROP TABLE {table}_1"
            ))?;
        }
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// What keeps a file of another version from being used. A later one is not guessed at; an earlier one must not be changed
/// by who only looks into it, as another process may work with it.
pub(super) fn mismatch(connection: &Connection) -> rusqlite::Result<Option<String>> {
    Ok(match version(connection)? {
        VERSION => None,
        0 => Some("nothing was written to it yet; is 'slipway run' about to start?".to_owned()),
        found if found < VERSION => Some(format!(
            "it was written by an older slipway (schema {found}, this one knows {VERSION}); restart 'slipway run', which \
             brings it up to date"
        )),
        found => Some(format!("it was written by a newer slipway (schema {found}, this one knows {VERSION})")),
    })
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_1: &str = "
        CREATE TABLE objects (
          api_group TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
          version INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL,
          PRIMARY KEY (api_group, kind, namespace, name)) WITHOUT ROWID;
        CREATE INDEX objects_by_version ON objects (version);
        CREATE TABLE applied (
          api_group TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, manager TEXT NOT NULL,
          source TEXT NOT NULL DEFAULT '', body TEXT NOT NULL,
          PRIMARY KEY (api_group, kind, namespace, name, manager)) WITHOUT ROWID;
        CREATE TABLE records (
          bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
        INSERT INTO objects VALUES ('apps', 'Deployment', 'ns', 'a', 7, 0, '{}'), ('', 'Service', 'ns', 'a', 8, 1, '{}');
        INSERT INTO applied VALUES ('apps', 'Deployment', 'ns', 'a', 'manifests', 'a.yaml', '{}');
        INSERT INTO records VALUES ('tags', 'ns/a', x'00ff');
        PRAGMA user_version = 1";

    fn rows(connection: &Connection, sql: &str) -> Vec<String> {
        let mut select = connection.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn a_file_of_the_first_version_keeps_all_that_it_holds() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(VERSION_1).unwrap();
        let problem = mismatch(&connection).unwrap().unwrap();
        assert!(problem.contains("older slipway (schema 1, this one knows 2)"), "{problem}");
        for _ in 0..2 {
            prepare(&mut connection).unwrap();
            assert_eq!(mismatch(&connection).unwrap(), None);
            let objects = "SELECT kind || version || deleted FROM objects ORDER BY version";
            assert_eq!(rows(&connection, objects), ["Deployment70", "Service81"]);
            assert_eq!(rows(&connection, "SELECT name || source FROM applied"), ["aa.yaml"]);
            assert_eq!(rows(&connection, "SELECT key || hex(value) FROM records"), ["ns/a00FF"]);
            let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%\\_1' ESCAPE '\\'";
            assert!(rows(&connection, tables).is_empty());
        }
        let twice = "INSERT INTO records (bucket, key, value) VALUES ('tags', 'ns/a', x'')";
        assert!(connection.execute_batch(twice).is_err(), "a record is there once");
    }

    #[test]
    fn an_index_that_nobody_uses_goes() {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection).unwrap();
        connection.execute_batch("CREATE INDEX events_by_object ON events (kind, namespace, name)").unwrap();
        for _ in 0..2 {
            prepare(&mut connection).unwrap();
            let indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
            assert_eq!(rows(&connection, indexes), ["objects_by_version"]);
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_told_and_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        prepare(&mut connection).unwrap();
        let problem = mismatch(&connection).unwrap().unwrap();
        assert!(problem.contains("newer slipway (schema 3, this one knows 2)"), "{problem}");
        assert!(rows(&connection, "SELECT name FROM sqlite_schema").is_empty());
    }
}
