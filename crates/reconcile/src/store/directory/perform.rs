//! Each verb of the store that writes, within a transaction.

use std::sync::Arc;

use api::meta::ObjectReference;
use serde_json::Value;

use super::{
    events,
    objects::{self, Patched, Row, Writes},
};
use crate::{Error, Result, object, store::Verb};

/// The object as it is stored, where the verb leads to one; or why the verb is refused.
pub(super) fn perform(
    writes: &mut Writes<'_>,
    manager: &str,
    verb: Verb,
) -> rusqlite::Result<Result<Option<Arc<Value>>>> {
    let missing = |id: &ObjectReference| Error::NotFound(id.to_string());
    Ok(match verb {
        Verb::Apply(object) => match object::require_reference(&object) {
            Ok(id) => Ok(Some(objects::apply(writes, &Row::of(&id), manager, "", object)?)),
            Err(error) => Err(error),
        },
        Verb::Patch(id, merge) => match objects::patch(writes, &Row::of(&id), merge)? {
            Patched::Stored(object) => Ok(Some(object)),
            Patched::Missing => Err(missing(&id)),
            Patched::Conflict => Err(Error::Conflict(id.to_string())),
        },
        Verb::Status(id, merge) => {
            objects::write_status(writes, &Row::of(&id), merge)?.map(Some).ok_or_else(|| missing(&id))
        }
        Verb::Delete(id) => objects::delete(writes, &Row::of(&id)).map(|_| Ok(None))?,
        Verb::Record(event) => events::record(writes.connection(), &event).map(|()| Ok(None))?,
        Verb::Note(record) => record.store(writes.connection()).map(|()| Ok(None))?,
    })
}
