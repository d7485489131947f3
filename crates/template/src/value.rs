//! What templates compute with: Go's dynamic values as far as they can be told apart by a template.

use std::{
    cmp::Ordering,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A value. Cloning is cheap; a map is shared by its clones, as in Go.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value, Go's untyped nil.
    #[default]
    Nil,
    /// `bool`
    Bool(bool),
    /// Any of Go's integers.
    Int(i64),
    /// `float64`
    Float(f64),
    /// `string`
    String(Arc<str>),
    /// A slice.
    List(List),
    /// A map, in the order of its keys.
    Map(Map),
    /// A struct: named fields, methods without arguments.
    Struct(Arc<Struct>),
}

/// A slice and its Go type.
#[derive(Clone, Debug)]
pub struct List {
    /// As Go prints it, such as `[]string`.
    pub type_name: &'static str,
    /// The elements.
    pub items: Arc<Vec<Value>>,
}

/// The entries of a map, sorted by key.
pub type Entries = Vec<(Value, Value)>;

/// A map and its Go type. Keys are strings, numbers or structs.
#[derive(Clone, Debug)]
pub struct Map {
    /// As Go prints it, such as `map[string]string`.
    pub type_name: &'static str,
    /// What `index` gives for a missing key: the zero value of the element type.
    pub zero: Arc<Value>,
    entries: Arc<Mutex<Entries>>,
}

/// A struct: what fields it has, and how it prints.
#[derive(Default)]
pub struct Struct {
    /// As Go prints it, such as `source.TemplateData`.
    pub type_name: &'static str,
    /// In the order of declaration, which is the order in which they print.
    pub fields: Vec<Field>,
    /// What can be called on it without arguments.
    pub methods: Vec<(&'static str, Method)>,
    /// What its `String` method returns, if it has one.
    pub display: Option<String>,
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name, which for an embedded struct is that of the type.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// Whether the fields of the value, a struct, count as fields of the outer one too.
    pub embedded: bool,
}

/// A method without arguments.
pub type Method = Arc<dyn Fn() -> Result<Value, String> + Send + Sync>;

impl fmt::Debug for Struct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.type_name).field("fields", &self.fields).finish_non_exhaustive()
    }
}

impl Struct {
    /// The field of that name, own ones before those of embedded structs.
    pub fn field(&self, name: &str) -> Option<Value> {
        let own = self.fields.iter().find(|field| field.name == name).map(|field| field.value.clone());
        own.or_else(|| {
            self.fields.iter().filter(|field| field.embedded).find_map(|field| match &field.value {
                Value::Struct(inner) => inner.field(name),
                _ => None,
            })
        })
    }
}

impl Map {
    /// A map of any entries; they are sorted here. Of equal keys the last one counts.
    pub fn new(type_name: &'static str, zero: Value, entries: impl IntoIterator<Item = (Value, Value)>) -> Self {
        let map = Self { type_name, zero: Arc::new(zero), entries: Arc::default() };
        entries.into_iter().for_each(|(key, value)| map.insert(key, value));
        map
    }

    /// Go's `map[string]interface {}`, what Sprig calls a dict.
    pub fn dict(entries: impl IntoIterator<Item = (Value, Value)>) -> Self {
        Self::new("map[string]interface {}", Value::Nil, entries)
    }

    /// A copy of the entries as they are now, in the order of the keys.
    pub fn entries(&self) -> Entries {
        self.locked(|entries| entries.clone())
    }

    /// Whether its Go type has texts as keys, so that they can be asked for as fields.
    pub(crate) fn has_text_keys(&self) -> bool {
        self.type_name.starts_with("map[string]")
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.locked(|entries| entries.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under the key.
    pub fn get(&self, key: &Value) -> Option<Value> {
        self.locked(|entries| {
            entries.binary_search_by(|(known, _)| known.order(key)).ok().map(|at| entries[at].1.clone())
        })
    }

    /// The value under a text key.
    pub fn get_text(&self, key: &str) -> Option<Value> {
        self.get(&Value::from(key))
    }

    /// Puts a value under a key, for all clones of this map.
    pub fn insert(&self, key: Value, value: Value) {
        self.locked(|entries| match entries.binary_search_by(|(known, _)| known.order(&key)) {
            Ok(at) => entries[at].1 = value,
            Err(at) => entries.insert(at, (key, value)),
        });
    }

    /// Takes a key away, for all clones of this map.
    pub fn remove(&self, key: &Value) {
        self.locked(|entries| entries.retain(|(known, _)| known.order(key) != Ordering::Equal));
    }

    /// Whether both are the same map, not only equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Entries) -> T) -> T {
        act(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Value {
    /// A slice of strings.
    pub fn strings<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(|item| Self::from(item.as_ref())).collect();
        Self::List(List { type_name: "[]string", items: Arc::new(items) })
    }

    /// A slice of anything.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List { type_name: "[]interface {}", items: Arc::new(items) })
    }

    /// Go's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::List(list) => list.type_name,
            Self::Map(map) => map.type_name,
            Self::Struct(value) => value.type_name,
        }
    }

    /// Go's name of the kind of type, as Sprig's `kindOf` gives it.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Struct(_) => "struct",
            other => other.type_name(),
        }
    }

    /// Whether `if` takes it for true. Source: Go `text/template`, `IsTrue`.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Struct(_) => true,
        }
    }

    /// A total order, which puts map keys in the order in which Go prints and ranges over them.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => left.total_cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::List(left), Self::List(right)) => each(left.items.iter(), right.items.iter()),
            (Self::Struct(left), Self::Struct(right)) => {
                let values = |value: &'_ Arc<Struct>| value.fields.iter().map(|f| f.value.clone()).collect::<Vec<_>>();
                each(values(left).iter(), values(right).iter())
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// Equality by content, as Go's `reflect.DeepEqual`.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Map(left), Self::Map(right)) => {
                left.is(right) || {
                    let (left, right) = (left.entries(), right.entries());
                    left.len() == right.len() && left.iter().zip(&right).all(|(a, b)| a.0.same(&b.0) && a.1.same(&b.1))
                }
            }
            (Self::List(left), Self::List(right)) => {
                left.items.len() == right.items.len()
                    && left.items.iter().zip(right.items.iter()).all(|(a, b)| a.same(b))
            }
            (Self::Nil, Self::Nil) => true,
            (Self::Nil, _) | (_, Self::Nil) => false,
            _ => self.rank() == other.rank() && self.order(other) == Ordering::Equal,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Nil => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Float(_) => 3,
            Self::String(_) => 4,
            Self::List(_) => 5,
            Self::Map(_) => 6,
            Self::Struct(_) => 7,
        }
    }
}

fn each<'a>(
    left: impl ExactSizeIterator<Item = &'a Value>,
    right: impl ExactSizeIterator<Item = &'a Value>,
) -> Ordering {
    let sizes = left.len().cmp(&right.len());
    left.zip(right).map(|(a, b)| a.order(b)).find(|order| order.is_ne()).unwrap_or(sizes)
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<&serde_json::Value> for Value {
    /// As Go's `encoding/json` reads into `interface {}`, except that whole numbers stay whole.
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::from(text.as_str()),
            serde_json::Value::Array(items) => Self::list(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(entries) => {
                Self::Map(Map::dict(entries.iter().map(|(key, value)| (Self::from(key.as_str()), Self::from(value)))))
            }
        }
    }
}
