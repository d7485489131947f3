//! The objects that a Kustomization applied, by id, and which of them have left the source.
//!
//! Source: reference delivery.md section 5.6; cli-utils `object.ObjMetadata`.

use std::collections::BTreeSet;

use api::{
    kustomize::{ResourceInventory, ResourceRef},
    meta::ObjectReference,
};

use crate::order;

/// Label with the name of the Kustomization that applied an object.
pub const NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
/// Label with the namespace of the Kustomization that applied an object.
pub const NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// What stands for a colon in the names of RBAC objects, which may have one.
const COLON: &str = "__";

/// The inventory entry of an object.
pub fn entry(object: &ObjectReference) -> ResourceRef {
    let rbac = object.group() == "rbac.authorization.k8s.io";
    let name = if rbac { object.name.replace(':', COLON) } else { object.name.clone() };
    ResourceRef {
        id: format!("{}_{name}_{}_{}", object.namespace, object.group(), object.kind),
        version: object.version().to_owned(),
    }
}

/// The object that an inventory entry stands for; `None` if the id is malformed.
pub fn object(entry: &ResourceRef) -> Option<ObjectReference> {
    let (namespace, rest) = entry.id.split_once('_')?;
    let (rest, kind) = rest.rsplit_once('_')?;
    let (name, group) = rest.rsplit_once('_')?;
    if name.is_empty() || kind.is_empty() {
        return None;
    }
    let name = if group == "rbac.authorization.k8s.io" { name.replace(COLON, ":") } else { name.to_owned() };
    let api_version = if group.is_empty() { entry.version.clone() } else { format!("{group}/{}", entry.version) };
    Some(ObjectReference { api_version, kind: kind.to_owned(), namespace: namespace.to_owned(), name })
}

/// The inventory of the given objects, in order of their ids, each once.
pub fn of<'a>(objects: impl IntoIterator<Item = &'a ObjectReference>) -> ResourceInventory {
    let entries: BTreeSet<ResourceRef> = objects.into_iter().map(entry).collect();
    ResourceInventory { entries: unique(entries) }
}

/// The inventory with these entries as well.
pub fn with(inventory: ResourceInventory, more: &[ResourceRef]) -> ResourceInventory {
    let entries: BTreeSet<ResourceRef> = inventory.entries.into_iter().chain(more.iter().cloned()).collect();
    ResourceInventory { entries: unique(entries) }
}

/// Entries of `old` that `new` has not, in the order in which they are to be deleted: the reverse of apply order.
/// The version does not count: the same object in another version has not left.
pub fn stale(old: &ResourceInventory, new: &ResourceInventory) -> Vec<ResourceRef> {
    let kept: BTreeSet<&str> = new.entries.iter().map(|entry| entry.id.as_str()).collect();
    let mut gone: Vec<(ObjectReference, ResourceRef)> = old
        .entries
        .iter()
        .filter(|entry| !kept.contains(entry.id.as_str()))
        .filter_map(|entry| Some((object(entry)?, entry.clone())))
        .collect();
    gone.sort_by(|(left, _), (right, _)| {
        let key =
            |id: &'_ ObjectReference| (id.kind.clone(), id.group().to_owned(), id.namespace.clone(), id.name.clone());
        let (left, right) = (key(left), key(right));
        order::compare_keys((&right.0, &right.1, &right.2, &right.3), (&left.0, &left.1, &left.2, &left.3))
    });
    gone.dedup_by(|(_, left), (_, right)| left.id == right.id);
    gone.into_iter().map(|(_, entry)| entry).collect()
}

/// One entry an id: the first version met.
fn unique(entries: BTreeSet<ResourceRef>) -> Vec<ResourceRef> {
    let mut entries: Vec<ResourceRef> = entries.into_iter().collect();
    entries.dedup_by(|next, previous| next.id == previous.id);
    entries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectReference {
        ObjectReference {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn ids_are_those_of_flux() {
        let cases = [
            (id("apps/v1", "Deployment", "default", "web"), "default_web_apps_Deployment", "v1"),
            (id("v1", "Namespace", "", "team"), "_team__Namespace", "v1"),
            (
                id("rbac.authorization.k8s.io/v1", "ClusterRole", "", "system:app"),
                "_system__app_rbac.authorization.k8s.io_ClusterRole",
                "v1",
            ),
        ];
        for (object_id, text, version) in cases {
            let made = entry(&object_id);
            assert_eq!((made.id.as_str(), made.version.as_str()), (text, version));
            assert_eq!(object(&made), Some(object_id));
        }
        for malformed in ["", "a_b", "a_b_c", "_x_y_"] {
            assert_eq!(object(&ResourceRef { id: malformed.into(), version: "v1".into() }), None, "{malformed}");
        }
    }

    #[test]
    fn what_left_the_source_is_deleted_in_reverse_order() {
        let old = of(&[
            id("v1", "Namespace", "", "team"),
            id("v1", "ConfigMap", "team", "a"),
            id("apps/v1", "Deployment", "team", "web"),
            id("autoscaling/v1", "HorizontalPodAutoscaler", "team", "web"),
        ]);
        let new = of(&[id("autoscaling/v2", "HorizontalPodAutoscaler", "team", "web")]);
        let kinds: Vec<_> = stale(&old, &new).iter().map(|entry| object(entry).unwrap().kind).collect();
        assert_eq!(kinds, ["Deployment", "ConfigMap", "Namespace"]);
    }

    fn objects() -> impl Strategy<Value = Vec<ObjectReference>> {
        let object = (0..3_usize, "[ab]?", "[a-c]").prop_map(|(kind, namespace, name)| {
            let (api_version, kind) = [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("apps/v2", "Deployment")][kind];
            id(api_version, kind, &namespace, &name)
        });
        proptest::collection::vec(object, 0..12)
    }

    proptest! {
        #[test]
        fn stale_is_old_without_new(old in objects(), new in objects()) {
            let (old, new) = (of(&old), of(&new));
            let ids = |inventory: &ResourceInventory| -> BTreeSet<String> {
                inventory.entries.iter().map(|entry| entry.id.clone()).collect()
            };
            let gone: Vec<String> = stale(&old, &new).into_iter().map(|entry| entry.id).collect();
            let as_set: BTreeSet<String> = gone.iter().cloned().collect();
            prop_assert_eq!(gone.len(), as_set.len());
            prop_assert_eq!(as_set, ids(&old).difference(&ids(&new)).cloned().collect());
            prop_assert!(stale(&old, &old).is_empty());
        }
    }
}
