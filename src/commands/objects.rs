//! Objects in the files that one-shot verbs are given; every error names file and line.

use std::rc::Rc;

use anyhow::{anyhow, bail};
use api::manifest::{self, Document, Place, Places};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file that was read.
#[derive(Debug)]
struct Source {
    file: String,
    places: Places,
}

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The object.
    pub object: Value,
    place: Place,
    source: Rc<Source>,
}

impl Placed {
    /// Whether it is one of that kind.
    pub fn is(&self, kind: &str) -> bool {
        self.object["kind"] == kind
    }

    /// The object as its type.
    pub fn typed<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        manifest::typed(&self.object).map_err(|problem| self.wrong(&problem))
    }

    /// Where a field stands: file and line.
    pub fn place(&self, field: &str) -> String {
        format!("{}, line {}", self.source.file, self.source.places.line(self.place, field))
    }

    /// An error about the object; the line is that of the field with which the problem begins.
    pub fn wrong(&self, problem: &str) -> anyhow::Error {
        anyhow!(located(&self.source.file, &self.source.places, self.place, problem))
    }
}

/// The objects of files, whatever their kinds. A document that cannot be read is an error.
pub fn read<S: AsRef<str>>(files: &[S]) -> anyhow::Result<Vec<Placed>> {
    let mut found = Vec::new();
    for file in files {
        let file = file.as_ref().to_owned();
        let text = super::read(&file)?;
        let documents: Result<Vec<Document>, _> = manifest::documents(&text).into_iter().collect();
        let documents = documents.map_err(|error| anyhow!("{file}, {error}"))?;
        let source = Rc::new(Source { file, places: Places::of(text) });
        let placed = |Document { place, object }| Placed { object, place, source: Rc::clone(&source) };
        found.extend(documents.into_iter().map(placed));
    }
    Ok(found)
}

/// The object of that kind, namespace and name among them.
pub fn find<'a>(objects: &'a [Placed], kind: &str, namespace: &str, name: &str) -> Option<&'a Placed> {
    objects.iter().find(|placed| {
        let metadata = &placed.object["metadata"];
        placed.is(kind) && metadata["namespace"] == namespace && metadata["name"] == name
    })
}

/// The only object of that kind among them.
pub fn only<'a>(objects: &'a [Placed], kind: &str, files: &[impl AsRef<str>]) -> anyhow::Result<&'a Placed> {
    let mut found = objects.iter().filter(|object| object.is(kind));
    match (found.next(), found.next()) {
        (Some(object), None) => Ok(object),
        (Some(_), Some(second)) => Err(second.wrong(&format!("a second {kind}, where one is expected"))),
        (None, _) => bail!("no {kind} in {}", files.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")),
    }
}

/// All objects of a file that are of this kind.
pub fn all<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<Vec<K>> {
    read(&[file])?.iter().filter(|object| object.is(&K::kind(&()))).map(Placed::typed).collect()
}

/// The one object of this kind in a file.
pub fn one<K: Resource<DynamicType = ()> + DeserializeOwned>(file: &str) -> anyhow::Result<K> {
    only(&read(&[file])?, &K::kind(&()), &[file])?.typed()
}

/// What [`manifest::typed`] says of an object, with the file and the line of the field at fault.
pub fn located(file: &str, places: &Places, place: Place, problem: &str) -> String {
    let field = problem.split(": ").next().filter(|field| !field.contains(' ')).unwrap_or_default();
    format!("{file}, line {}: {problem}", places.line(place, field))
}
