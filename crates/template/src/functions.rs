//! What templates can call: the registry, and Go's own functions.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;

use crate::{Value, compare, escape, format, print, sprig};

/// What kind of value a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything, nothing included.
    Any,
    /// `bool`
    Bool,
    /// An integer.
    Int,
    /// `float64`
    Float,
    /// `string`
    Text,
    /// A slice.
    List,
    /// A dict.
    Map,
}

impl Kind {
    /// Go's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float64",
            Self::Text => "string",
            Self::List => "[]interface {}",
            Self::Map => "map[string]interface {}",
        }
    }
}

/// What a function does. The number and kinds of the arguments have been checked.
pub(crate) type Call = Arc<dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync>;

/// A function that templates can call.
#[derive(Clone)]
pub struct Function {
    pub(crate) parameters: Vec<Kind>,
    pub(crate) variadic: Option<Kind>,
    pub(crate) call: Call,
    /// For `and` and `or`: the truth at which they stop.
    pub(crate) stops_at: Option<bool>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

impl Function {
    /// A function of that many parameters. An error becomes `error calling NAME: …`.
    pub fn new(
        parameters: impl Into<Vec<Kind>>,
        call: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Self { parameters: parameters.into(), variadic: None, call: Arc::new(call), stops_at: None }
    }

    /// A function without parameters that always gives the same value, such as Flagger's `namespace`.
    pub fn constant(value: impl Into<Value>) -> Self {
        let value = value.into();
        Self::new([], move |_| Ok(value.clone()))
    }

    /// The same, with any number of further arguments of that kind.
    pub fn variadic(mut self, kind: Kind) -> Self {
        self.variadic = Some(kind);
        self
    }

    /// The kind of the argument at that place.
    pub(crate) fn kind(&self, index: usize) -> Kind {
        self.parameters.get(index).copied().or(self.variadic).unwrap_or(Kind::Any)
    }
}

/// The functions that a template may call, by name. Cloning is cheap, and so is adding some to the tables below.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// What many templates share.
    shared: Arc<BTreeMap<String, Function>>,
    /// What comes first.
    own: Arc<BTreeMap<String, Function>>,
}

impl Functions {
    /// Go's own: `and or not len index slice print printf println html js urlquery call eq ne lt le gt ge`.
    pub fn builtin() -> Self {
        static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
            let mut functions = Functions::default().with_table(BUILTIN);
            for (name, stops_at) in [("and", false), ("or", true)] {
                let function = Function::new([Kind::Any], |_| Ok(Value::Nil)).variadic(Kind::Any);
                functions = functions.with(name, Function { stops_at: Some(stops_at), ..function });
            }
            functions.into_shared()
        });
        FUNCTIONS.clone()
    }

    /// Go's own and Sprig's, without those of Sprig's that are not determined by their arguments; see [`Functions::at`].
    /// Source: Sprig 3.3 `HermeticTxtFuncMap`, which Flux gives to commit messages.
    pub fn sprig() -> Self {
        static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
            let all = sprig::TABLES.iter().fold(Functions::builtin(), |all, table| all.with_table(table));
            let all = sprig::MUST.iter().fold(all, |all, (name, same)| match all.get(same).cloned() {
                Some(function) => all.with(name, function),
                None => all,
            });
            all.into_shared()
        });
        FUNCTIONS.clone()
    }

    /// The same with one more; one of the same name is replaced.
    pub fn with(mut self, name: &str, function: Function) -> Self {
        Arc::make_mut(&mut self.own).insert(name.to_owned(), function);
        self
    }

    /// The same functions, all of them shared by those that add to them.
    fn into_shared(self) -> Self {
        let mut shared = self.shared;
        Arc::make_mut(&mut shared).extend(Arc::unwrap_or_clone(self.own));
        Self { shared, own: Arc::default() }
    }

    /// The same with Sprig's `ago`, the time that has passed since a date until now.
    pub fn at(self, now: Timestamp) -> Self {
        self.with("ago", Function::new([Kind::Any], move |args| Ok(sprig::ago(&args[0], now).into())))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Function> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    fn with_table(self, table: &'static [Entry]) -> Self {
        table.iter().fold(self, |all, (name, parameters, call)| all.with(name, from_entry(parameters, call)))
    }
}

/// Name, parameters and body of a function. The parameters are written one letter each:
/// `a`ny, `b`ool, `i`nteger, `f`loat, `s`tring, `l`ist, `m`ap; a `*` makes the last one variadic.
pub(crate) type Entry = (&'static str, &'static str, fn(&[Value]) -> Result<Value, String>);

fn from_entry(parameters: &str, call: &'static fn(&[Value]) -> Result<Value, String>) -> Function {
    let mut kinds: Vec<Kind> = parameters
        .chars()
        .filter_map(|letter| match letter {
            'a' => Some(Kind::Any),
            'b' => Some(Kind::Bool),
            'i' => Some(Kind::Int),
            'f' => Some(Kind::Float),
            's' => Some(Kind::Text),
            'l' => Some(Kind::List),
            'm' => Some(Kind::Map),
            _ => None,
        })
        .collect();
    let variadic = if parameters.ends_with('*') { kinds.pop() } else { None };
    let function = Function::new(kinds, call);
    Function { variadic, ..function }
}

const BUILTIN: &[Entry] = &[
    ("not", "a", |args| Ok((!args[0].is_true()).into())),
    ("len", "a", |args| length(&args[0])),
    ("index", "aa*", |args| args[1..].iter().try_fold(args[0].clone(), |value, key| index(&value, key))),
    ("slice", "aa*", slice),
    ("print", "a*", |args| Ok(format::sprint(args).into())),
    ("println", "a*", |args| Ok(format::sprintln(args).into())),
    ("printf", "sa*", |args| Ok(format::sprintf(&print::text(&args[0]), &args[1..]).into())),
    ("html", "a*", |args| Ok(escape::html(&format::arguments(args)).into())),
    ("js", "a*", |args| Ok(escape::js(&format::arguments(args)).into())),
    ("urlquery", "a*", |args| Ok(escape::query(&format::arguments(args)).into())),
    ("call", "aa*", |args| match &args[0] {
        Value::Nil => Err("call of nil".to_owned()),
        other => Err(format!("non-function {} of type {}", print::text(other), other.type_name())),
    }),
    ("eq", "aa*", |args| compare::equal(&args[0], &args[1..]).map(Value::Bool)),
    ("ne", "aa", |args| compare::equal(&args[0], &args[1..]).map(|equal| Value::Bool(!equal))),
    ("lt", "aa", |args| compare::less(&args[0], &args[1]).map(Value::Bool)),
    ("le", "aa", |args| compare::less_or_equal(&args[0], &args[1]).map(Value::Bool)),
    ("gt", "aa", |args| compare::less_or_equal(&args[0], &args[1]).map(|less| Value::Bool(!less))),
    ("ge", "aa", |args| compare::less(&args[0], &args[1]).map(|less| Value::Bool(!less))),
];

/// `len`: bytes of a text, elements of the others.
pub(crate) fn length(value: &Value) -> Result<Value, String> {
    let count = match value {
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match value {
        Value::Nil => Err("index of untyped nil".to_owned()),
        Value::List(list) => Ok(list.items[position(key, list.items.len(), false)?].clone()),
        Value::String(text) => Ok(Value::Int(text.as_bytes()[position(key, text.len(), false)?].into())),
        Value::Map(map) => {
            let keys = map.entries();
            let fits = match (keys.first(), key) {
                (_, Value::Nil) => return Err("value is nil; should be of type string".to_owned()),
                (Some((known, _)), key) => known.kind_name() == key.kind_name(),
                (None, _) => true,
            };
            if !fits {
                return Err(format!("value has type {}; should be {}", key.type_name(), keys[0].0.type_name()));
            }
            Ok(map.get(key).unwrap_or_else(|| (*map.zero).clone()))
        }
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

/// The index that a value stands for, less than `length`, or equal to it if it bounds a slice.
fn position(key: &Value, length: usize, bounds: bool) -> Result<usize, String> {
    let wanted = match key {
        Value::Int(wanted) => *wanted,
        Value::Nil => return Err("cannot index slice/array with nil".to_owned()),
        other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    match usize::try_from(wanted) {
        Ok(at) if at < length || (bounds && at == length) => Ok(at),
        _ => Err(format!("index out of range: {wanted}")),
    }
}

/// Go's `slice`: `item[from:to]`.
fn slice(args: &[Value]) -> Result<Value, String> {
    let length = match (&args[0], args.len()) {
        (_, 5..) => return Err(format!("too many slice indexes: {}", args.len() - 1)),
        (Value::Nil, _) => return Err("slice of untyped nil".to_owned()),
        (Value::String(_), 4) => return Err("cannot 3-index slice a string".to_owned()),
        (Value::String(text), _) => text.len(),
        (Value::List(list), _) => list.items.len(),
        (other, _) => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |at: usize, default: usize| match args.get(at) {
        Some(key) => position(key, length, true),
        None => Ok(default),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    bound(3, length)?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &args[0] {
        Value::String(text) => Ok(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into()),
        Value::List(list) => {
            let items = Arc::new(list.items[from..to].to_vec());
            Ok(Value::List(crate::List { type_name: list.type_name, items }))
        }
        other => Ok(other.clone()),
    }
}
