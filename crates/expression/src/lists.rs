//! What Flux adds to the language for lists: the first and the last element, what optionals hold, and sets. Pure.
//! Source: cel-go, "OptionalTypes" version 2 and the extension "Sets".

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        traits::Iterable,
        types::{CelBool, CelList, CelOptional, LIST_TYPE},
        value::{CowVal, Val},
    },
};

use super::MAX_STEPS;

/// Adds them.
pub(super) fn extension(environment: &mut Env) -> Result<(), DeclarationError> {
    environment.add_member_overload("first", "list.first()", LIST_TYPE, Vec::new(), first)?;
    environment.add_member_overload("last", "list.last()", LIST_TYPE, Vec::new(), last)?;
    environment.add_overload("optional.unwrap", "optional_unwrap", vec![LIST_TYPE], unwrap)?;
    environment.add_member_overload("unwrapOpt", "optional_unwrapOpt", LIST_TYPE, Vec::new(), unwrap)?;
    let two = || vec![LIST_TYPE, LIST_TYPE];
    environment.add_overload("sets.contains", "list_sets_contains_list", two(), |arguments| {
        let [all, some] = lists("sets.contains", &arguments)?;
        answer(some.iter().all(|item| is_in(*item, &all)))
    })?;
    environment.add_overload("sets.equivalent", "list_sets_equivalent_list", two(), |arguments| {
        let [one, other] = lists("sets.equivalent", &arguments)?;
        answer(one.iter().all(|item| is_in(*item, &other)) && other.iter().all(|item| is_in(*item, &one)))
    })?;
    environment.add_overload("sets.intersects", "list_sets_intersects_list", two(), |arguments| {
        let [one, other] = lists("sets.intersects", &arguments)?;
        answer(one.iter().any(|item| is_in(*item, &other)))
    })
}

fn first<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let items = items("first", arguments.first())?;
    Ok(CowVal::owned(items.first().map_or_else(CelOptional::none, |item| CelOptional::of(item.clone_as_boxed()))))
}

fn last<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let items = items("last", arguments.first())?;
    Ok(CowVal::owned(items.last().map_or_else(CelOptional::none, |item| CelOptional::of(item.clone_as_boxed()))))
}

/// What those optionals hold that hold something.
fn unwrap<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut held = Vec::new();
    for item in items("optional.unwrap", arguments.first())? {
        let optional = item.downcast_ref::<CelOptional>();
        let optional =
            optional.ok_or_else(|| ExecutionError::function_error("optional.unwrap", "an optional is expected"))?;
        held.extend(optional.option().map(|value| value.clone_as_boxed()));
    }
    Ok(CowVal::owned(CelList::from(held)))
}

type Items<'a, 'v> = Vec<&'a (dyn Val + 'v)>;

fn items<'a, 'v>(function: &str, list: Option<&'a CowVal<'_, 'v>>) -> Result<Items<'a, 'v>, ExecutionError> {
    let found = list.and_then(|list| list.as_iterable());
    let found: &(dyn Iterable + 'v) =
        found.ok_or_else(|| ExecutionError::function_error(function, "a list is expected"))?;
    let (mut iterator, mut items) = (found.iter(), Vec::new());
    while let Some(item) = iterator.next() {
        items.push(item);
    }
    Ok(items)
}

/// The two lists of a function over sets, each with each as many steps as may be taken at most.
fn lists<'a, 'v>(function: &str, arguments: &'a [CowVal<'_, 'v>]) -> Result<[Items<'a, 'v>; 2], ExecutionError> {
    let [one, other] = [items(function, arguments.first())?, items(function, arguments.get(1))?];
    if (one.len() as u64).saturating_mul(other.len() as u64) > MAX_STEPS {
        return Err(ExecutionError::function_error(function, "the lists are too long"));
    }
    Ok([one, other])
}

fn is_in(item: &dyn Val, items: &[&dyn Val]) -> bool {
    items.iter().any(|other| item.equals(*other))
}

fn answer<'b, 'v>(holds: bool) -> Result<CowVal<'b, 'v>, ExecutionError> {
    Ok(CowVal::owned(CelBool::from(holds)))
}
