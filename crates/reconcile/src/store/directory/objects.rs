//! Objects in the database: what each verb does to the rows, inside one transaction.

use std::sync::Arc;

use api::meta::ObjectReference;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value, json};

use super::Change;
use crate::{
    clock,
    object::effective_namespace,
    store::merge::{self, Altered},
};

/// Key of an object: its version does not count, `v1` and `v1beta2` name the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Row {
    pub(super) fn of(id: &ObjectReference) -> Self {
        Self {
            group: id.group().to_owned(),
            kind: id.kind.clone(),
            namespace: effective_namespace(&id.kind, &id.namespace).to_owned(),
            name: id.name.clone(),
        }
    }
}

/// A transaction and what it changed so far.
pub(super) struct Writes<'a> {
    transaction: &'a Transaction<'a>,
    /// The highest version given out.
    latest: i64,
    changes: Vec<Change>,
}

/// What the next version of an object keeps of this one.
struct Kept {
    uid: String,
    created: Option<Value>,
    generation: i64,
}

impl Kept {
    fn of(before: &Value) -> Self {
        let metadata = &before["metadata"];
        Self {
            uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
            created: metadata.get("creationTimestamp").cloned(),
            generation: metadata["generation"].as_i64().unwrap_or(1),
        }
    }
}

impl<'a> Writes<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>, latest: i64) -> Self {
        Self { transaction, latest, changes: Vec::new() }
    }

    fn next_version(&mut self) -> i64 {
        self.latest += 1;
        self.latest
    }

    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    pub(super) fn connection(&self) -> &Connection {
        self.transaction
    }

    /// Stores the object under the next version; `kept` is of what stood there.
    fn put(
        &mut self,
        row: &Row,
        kept: Option<Kept>,
        altered: Altered,
        mut after: Value,
    ) -> rusqlite::Result<Arc<Value>> {
        let version = self.next_version();
        stamp(&mut after, row, kept, altered, version);
        let sql = "INSERT INTO objects (api_group, kind, namespace, name, version, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE \
                   SET version = excluded.version, deleted = 0, body = excluded.body";
        let values = params![row.group, row.kind, row.namespace, row.name, version, api::manifest::text(&after)];
        self.transaction.prepare_cached(sql)?.execute(values)?;
        let after = Arc::new(after);
        self.changes.push(Change { group: row.group.clone(), version, deleted: false, object: Arc::clone(&after) });
        Ok(after)
    }

    /// Takes the object and what it owns away. A mark stays, so that other processes notice.
    fn remove(&mut self, row: &Row, object: Arc<Value>) -> rusqlite::Result<()> {
        let version = self.next_version();
        let sql = "UPDATE objects SET version = ?5, deleted = 1 \
                   WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4";
        self.transaction.prepare_cached(sql)?.execute(params![
            row.group,
            row.kind,
            row.namespace,
            row.name,
            version
        ])?;
        let sql = "DELETE FROM applied WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4";
        self.transaction.prepare_cached(sql)?.execute(params![row.group, row.kind, row.namespace, row.name])?;
        let owner = text(&object, "/metadata/uid").to_owned();
        self.changes.push(Change { group: row.group.clone(), version, deleted: true, object });
        for owned in owned_by(self.transaction, &owner)? {
            delete(self, &owned)?;
        }
        Ok(())
    }
}

/// The highest version given out.
pub(super) fn latest_version(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(version), 0) FROM objects";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// The object, if it is there.
pub(super) fn read(connection: &Connection, row: &Row) -> rusqlite::Result<Option<Value>> {
    let sql = "SELECT body FROM objects \
               WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4 AND deleted = 0";
    let mut select = connection.prepare_cached(sql)?;
    let body = select.query_row(params![row.group, row.kind, row.namespace, row.name], body).optional()?;
    Ok(body)
}

/// The version of an object, if it is there.
pub(super) fn version(connection: &Connection, row: &Row) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT version FROM objects \
               WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4 AND deleted = 0";
    let mut select = connection.prepare_cached(sql)?;
    select.query_row(params![row.group, row.kind, row.namespace, row.name], |row| row.get(0)).optional()
}

/// The objects of a kind, by namespace and name.
pub(super) fn list(
    connection: &Connection,
    group: &str,
    kind: &str,
    namespace: Option<&str>,
) -> rusqlite::Result<Vec<Value>> {
    let sql = "SELECT body FROM objects WHERE api_group = ?1 AND kind = ?2 AND deleted = 0 \
               AND (?3 IS NULL OR namespace = ?3) ORDER BY namespace, name";
    connection.prepare_cached(sql)?.query_map(params![group, kind, namespace], body)?.collect()
}

/// Changes after a version, oldest first, made by whatever process.
pub(super) fn changes_after(connection: &Connection, version: i64) -> rusqlite::Result<Vec<Change>> {
    let sql = "SELECT api_group, version, deleted, body FROM objects WHERE version > ?1 ORDER BY version";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([version], |row| {
        let object = Arc::new(row.get_ref(3)?.as_str()?.parse().unwrap_or_default());
        Ok(Change { group: row.get(0)?, version: row.get(1)?, deleted: row.get(2)?, object })
    })?;
    rows.collect()
}

fn body(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    // `parse` is serde_json's own, built for speed; `from_str` would be built anew here, for size.
    let text = row.get_ref(0)?.as_str()?;
    text.parse().map_err(|error: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// What a manager applied last: its own, and those of all others.
fn applied(connection: &Connection, row: &Row, manager: &str) -> rusqlite::Result<(Value, Vec<Value>)> {
    let sql = "SELECT manager, body FROM applied \
               WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4 ORDER BY manager";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![row.group, row.kind, row.namespace, row.name], |found| {
        Ok((found.get::<_, String>(0)?, found.get_ref(1)?.as_str()?.parse().unwrap_or_default()))
    })?;
    let (mut own, mut others) = (Value::Null, Vec::new());
    for found in rows {
        let (by, value): (String, Value) = found?;
        if by == manager {
            own = value;
        } else {
            others.push(value);
        }
    }
    Ok((own, others))
}

/// Applies what is `new` to the object as it is stored, without storing it.
fn merge(
    connection: &Connection,
    row: &Row,
    manager: &str,
    new: &Value,
) -> rusqlite::Result<(Option<Kept>, Altered, Value)> {
    let live = read(connection, row)?;
    let (last, others) = applied(connection, row, manager)?;
    let kept = live.as_ref().map(Kept::of);
    let mut after = live.unwrap_or_else(|| json!({}));
    let altered = merge::apply(&mut after, &last, new, &others);
    Ok((kept, altered, after))
}

/// The object as applying would leave it, before it is stamped.
pub(super) fn preview(connection: &Connection, row: &Row, manager: &str, object: Value) -> rusqlite::Result<Value> {
    merge(connection, row, manager, &merge::applicable(object)).map(|(_, _, after)| after)
}

pub(super) fn apply(
    writes: &mut Writes<'_>,
    row: &Row,
    manager: &str,
    source: &str,
    object: Value,
) -> rusqlite::Result<Arc<Value>> {
    let new = merge::applicable(object);
    let (kept, altered, after) = merge(writes.transaction, row, manager, &new)?;
    let sql = "INSERT INTO applied (api_group, kind, namespace, name, manager, source, body) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE \
               SET source = excluded.source, body = excluded.body \
               WHERE body <> excluded.body OR source <> excluded.source";
    let values = params![row.group, row.kind, row.namespace, row.name, manager, source, api::manifest::text(&new)];
    writes.transaction.prepare_cached(sql)?.execute(values)?;
    match kept.is_some() && !altered.any {
        true => Ok(Arc::new(after)),
        false => writes.put(row, kept, altered, after),
    }
}

/// What became of a patch.
pub(super) enum Patched {
    /// The object as it is now.
    Stored(Arc<Value>),
    /// The object is not there.
    Missing,
    /// The object changed since the version that the patch names.
    Conflict,
}

/// Patches all but the status, which has its own verb as in a cluster.
pub(super) fn patch(writes: &mut Writes<'_>, row: &Row, mut patch: Value) -> rusqlite::Result<Patched> {
    if let Some(fields) = patch.as_object_mut() {
        fields.remove("status");
    }
    let Some(live) = read(writes.transaction, row)? else { return Ok(Patched::Missing) };
    let wanted = patch.pointer("/metadata/resourceVersion").filter(|version| !version.is_null());
    if wanted.is_some_and(|version| Some(version) != live.pointer("/metadata/resourceVersion")) {
        return Ok(Patched::Conflict);
    }
    change(writes, row, live, &patch).map(Patched::Stored)
}

fn change(writes: &mut Writes<'_>, row: &Row, mut object: Value, patch: &Value) -> rusqlite::Result<Arc<Value>> {
    let kept = Kept::of(&object);
    let altered = merge::patch(&mut object, patch);
    if !altered.any {
        return Ok(Arc::new(object));
    }
    let leaving = object.pointer("/metadata/deletionTimestamp").is_some() && finalizers(&object) == 0;
    if leaving {
        let object = Arc::new(object);
        writes.remove(row, Arc::clone(&object))?;
        return Ok(object);
    }
    writes.put(row, Some(kept), altered, object)
}

pub(super) fn write_status(writes: &mut Writes<'_>, row: &Row, status: Value) -> rusqlite::Result<Option<Arc<Value>>> {
    let Some(live) = read(writes.transaction, row)? else { return Ok(None) };
    let patch = Value::Object(Map::from_iter([("status".to_owned(), status)]));
    change(writes, row, live, &patch).map(Some)
}

pub(super) fn delete(writes: &mut Writes<'_>, row: &Row) -> rusqlite::Result<bool> {
    let Some(live) = read(writes.transaction, row)? else { return Ok(false) };
    if finalizers(&live) == 0 {
        writes.remove(row, Arc::new(live))?;
    } else if live.pointer("/metadata/deletionTimestamp").is_none() {
        change(writes, row, live, &json!({"metadata": {"deletionTimestamp": timestamp()}}))?;
    }
    Ok(true)
}

/// Objects whose owner references name that uid.
fn owned_by(connection: &Connection, uid: &str) -> rusqlite::Result<Vec<Row>> {
    if uid.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT api_group, kind, namespace, name FROM objects WHERE deleted = 0 AND EXISTS ( \
               SELECT 1 FROM json_each(body, '$.metadata.ownerReferences') AS owner \
               WHERE json_extract(owner.value, '$.uid') = ?1)";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([uid], |row| {
        Ok(Row { group: row.get(0)?, kind: row.get(1)?, namespace: row.get(2)?, name: row.get(3)? })
    })?;
    rows.collect()
}

/// Writes what only the store writes: identity, version, generation.
fn stamp(object: &mut Value, row: &Row, kept: Option<Kept>, altered: Altered, version: i64) {
    let (uid, created, generation) = match kept {
        None => (String::new(), None, 1),
        Some(Kept { uid, created, generation }) => (uid, created, generation + i64::from(altered.spec)),
    };
    let metadata = &mut object["metadata"];
    if row.namespace.is_empty() {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("namespace");
        }
    } else {
        metadata["namespace"] = row.namespace.clone().into();
    }
    metadata["uid"] = if uid.is_empty() { uuid::Uuid::new_v4().to_string() } else { uid }.into();
    metadata["creationTimestamp"] = created.unwrap_or_else(timestamp);
    metadata["generation"] = generation.into();
    metadata["resourceVersion"] = version.to_string().into();
}

/// The time now as Kubernetes writes it, in whole seconds.
fn timestamp() -> Value {
    serde_json::to_value(api::Time(clock::now())).unwrap_or_default()
}

fn finalizers(object: &Value) -> usize {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Forgets what a manager applied, so that a deletion which waits for finalizers is not taken for a missing file again.
pub(super) fn forget(writes: &mut Writes<'_>, row: &Row, manager: &str) -> rusqlite::Result<()> {
    let sql = "DELETE FROM applied \
               WHERE api_group = ?1 AND kind = ?2 AND namespace = ?3 AND name = ?4 AND manager = ?5";
    let values = params![row.group, row.kind, row.namespace, row.name, manager];
    writes.transaction.prepare_cached(sql)?.execute(values).map(drop)
}
