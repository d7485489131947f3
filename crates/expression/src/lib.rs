//! Expressions of the Common Expression Language as manifests write them: filters, validations, texts, health.
//!
//! A pure crate: a text becomes an [`Expression`], which gives a value over JSON. Source: reference image-automation.md
//! section 9.5; Flux `pkg/runtime/cel`.

mod check;
mod format;
mod lists;
mod signatures;
mod time;
mod types;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, Program,
    common::ast::{EntryExpr, Expr, IdedExpr},
    extensions,
    objects::{Key, Map},
};
use serde_json::{Number, Value};

use types::{Plain, Type};

/// Longest expression that is read.
const MAX_SOURCE_BYTES: usize = 10_000;
/// Deepest nesting of brackets, and most operators outside of texts: reader and evaluation go down as deep as these.
const MAX_NESTING: usize = 24;
const MAX_OPERATORS: usize = 200;
/// Reading takes up to 150 kB for a bracket, evaluation 20 kB for an operator; what is not used costs nothing.
const STACK_BYTES: usize = 32 << 20;
/// Most steps that loops over the data may take, estimated before they run.
const MAX_STEPS: u64 = 1_000_000;

/// Why an expression gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CelError(String);

/// An expression, ready to be evaluated any number of times.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    /// How deep loops lie within each other.
    depth: u32,
    /// Whether texts are split, which makes lists as long as the text.
    splits: bool,
    numbers: Numbers,
    /// What it gives, as far as that can be told without data.
    output: Type,
}

/// What numbers of JSON are to an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// All are floating ones.
    Floating,
    /// Whole ones are integers.
    AsWritten,
}

/// What an expression has to give for all data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// True or false.
    Bool,
    /// A text.
    String,
}

/// The language as Flux sets it up. Source: `fluxcd/pkg/runtime/cel`.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    let declared = environment
        .add_extension(extensions::strings)
        .and_then(|()| environment.add_extension(extensions::encoders))
        .and_then(|()| environment.add_extension(lists::extension))
        .and_then(|()| environment.add_extension(time::extension));
    declared.expect("because the standard library declares none of them");
    Arc::new(environment)
});

impl Expression {
    /// Reads an expression over these variables, which are objects. Any other name in it is an error, of a function too,
    /// and so are types that do not fit. All numbers are floating ones, as in what Flux decodes from the bodies of
    /// requests and events.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, CelError> {
        Self::read(source, Some(variables), Numbers::Floating)
    }

    /// Reads an expression as [`Expression::compile`] does, which gives true or false over objects of Kubernetes.
    pub fn predicate(source: &str, variables: &[&str]) -> Result<Self, CelError> {
        Self::read(source, Some(variables), Numbers::AsWritten)?.giving(Output::Bool)
    }

    /// The expression, unless it does not plainly give this for all data.
    pub fn giving(self, output: Output) -> Result<Self, CelError> {
        let expected = Type::Plain(match output {
            Output::Bool => Plain::Bool,
            Output::String => Plain::String,
        });
        if self.output == expected {
            return Ok(self);
        }
        let given = self.output.declared();
        Err(CelError(format!("CEL expression output type mismatch: expected {expected}, got {given}")))
    }

    /// Reads an expression over the members of an object that nobody knows yet; see [`Expression::holds_for`]. Only its
    /// evaluation tells what does not fit, as in Flux.
    pub fn open(source: &str) -> Result<Self, CelError> {
        Self::read(source, None, Numbers::AsWritten)
    }

    /// Without variables every name may be one.
    fn read(source: &str, variables: Option<&[&str]>, numbers: Numbers) -> Result<Self, CelError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(CelError(format!("the expression is longer than {MAX_SOURCE_BYTES} bytes")));
        }
        if is_too_deep(source) {
            return Err(CelError("the expression is nested too deeply".into()));
        }
        on_a_large_stack(|| {
            let program = ENVIRONMENT.compile(source).map_err(|error| CelError(error.to_string()))?;
            let output = variables.map(|variables| check::output(program.expression(), variables));
            let output = output.unwrap_or(Ok(types::DYN))?;
            let depth = depth(program.expression());
            let splits = program.references().has_function("split");
            Ok(Self { program, depth, splits, numbers, output })
        })
    }

    /// Whether the expression holds with the members of an object as variables.
    pub fn holds_for(&self, object: &Value) -> Result<bool, CelError> {
        let members: Vec<_> = object.as_object().into_iter().flatten().map(|(name, value)| (&**name, value)).collect();
        self.holds(&members)
    }

    /// Whether the expression holds; one that gives no truth value is an error.
    pub fn holds(&self, variables: &[(&str, &Value)]) -> Result<bool, CelError> {
        match self.evaluate(variables)? {
            cel::Value::Bool(holds) => Ok(holds),
            other => Err(CelError(format!("the expression gives {}, not true or false", other.type_of()))),
        }
    }

    /// The text that the expression gives; anything else is an error.
    pub fn text(&self, variables: &[(&str, &Value)]) -> Result<String, CelError> {
        match self.evaluate(variables)? {
            cel::Value::String(text) => Ok(text.as_ref().clone()),
            other => Err(CelError(format!("the expression gives {}, not a text", other.type_of()))),
        }
    }

    /// What the expression gives, as JSON.
    pub fn value(&self, variables: &[(&str, &Value)]) -> Result<Value, CelError> {
        self.evaluate(variables).map(|value| json(&value))
    }

    fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<cel::Value, CelError> {
        let longest = variables.iter().map(|(_, value)| self.longest(value)).max().unwrap_or_default();
        if longest.saturating_pow(self.depth) > MAX_STEPS {
            return Err(CelError("the expression would take too long over this much data".into()));
        }
        on_a_large_stack(|| {
            let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
            for (name, value) in variables {
                context.add_variable_from_value(*name, self.numbers.value(value));
            }
            self.program.execute(&context).map_err(|error| CelError(error.to_string()))
        })
    }

    /// Length of the longest thing that can be looped over.
    fn longest(&self, value: &Value) -> u64 {
        let (own, inner) = match value {
            Value::Array(items) => (items.len(), items.iter().map(|item| self.longest(item)).max()),
            Value::Object(members) => (members.len(), members.values().map(|member| self.longest(member)).max()),
            Value::String(text) if self.splits => (text.len(), None),
            _ => (1, None),
        };
        (own as u64).max(inner.unwrap_or_default())
    }
}

/// Works on a thread of its own, as the stacks of others are too small for what the language's library takes.
fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T, CelError> + Send) -> Result<T, CelError> {
    let failed = || CelError("the expression cannot be evaluated".into());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.map_err(|_| failed())?.join().unwrap_or_else(|_| Err(failed()))
    })
}

/// Whether reading the expression could exhaust the stack. Texts in quotes do not count.
fn is_too_deep(source: &str) -> bool {
    let (mut nesting, mut deepest, mut operators, mut quote) = (0_usize, 0, 0, None);
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', Some(_)) => drop(characters.next()),
            (_, Some(open)) if character == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(character),
            ('(' | '[' | '{', None) => {
                nesting += 1;
                deepest = deepest.max(nesting);
            }
            (')' | ']' | '}', None) => nesting = nesting.saturating_sub(1),
            ('+' | '-' | '*' | '/' | '%' | '!' | '.' | '<' | '>' | '=' | '?', None) => operators += 1,
            _ => {}
        }
    }
    // Raw texts and those in triple quotes may hide the end of a text from the count above; a text may then seem to
    // be operators and brackets, or the other way round up to the next quote.
    deepest > MAX_NESTING || operators > MAX_OPERATORS
}

/// How deep loops lie within each other.
fn depth(expression: &IdedExpr) -> u32 {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => 0,
        Expr::Select(select) => depth(&select.operand),
        Expr::List(list) => deepest(&list.elements),
        Expr::Call(call) => deepest(call.target.as_deref().into_iter().chain(&call.args)),
        Expr::Map(map) => deepest(map.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Struct(value) => deepest(value.entries.iter().flat_map(|entry| parts(&entry.expr))),
        Expr::Comprehension(looped) => {
            let outer = deepest([&looped.iter_range, &looped.accu_init]);
            outer.max(deepest([&looped.loop_cond, &looped.loop_step, &looped.result]) + 1)
        }
    }
}

fn deepest<'a>(parts: impl IntoIterator<Item = &'a IdedExpr>) -> u32 {
    parts.into_iter().map(depth).max().unwrap_or_default()
}

/// The expressions within an entry of a map or an object.
fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

impl Numbers {
    /// JSON as Flux hands it to expressions.
    fn value(self, json: &Value) -> cel::Value {
        match json {
            Value::Null => cel::Value::Null,
            Value::Bool(holds) => cel::Value::Bool(*holds),
            Value::Number(number) => self.number(number),
            Value::String(text) => cel::Value::String(Arc::new(text.clone())),
            Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(|item| self.value(item)).collect())),
            Value::Object(members) => {
                let member = |(key, member): (&String, _)| (Key::String(Arc::new(key.clone())), self.value(member));
                let map: HashMap<Key, cel::Value> = members.iter().map(member).collect();
                cel::Value::Map(Map { map: Arc::new(map) })
            }
        }
    }

    fn number(self, number: &Number) -> cel::Value {
        let whole = number.as_i64().filter(|_| self == Self::AsWritten).map(cel::Value::Int);
        whole.unwrap_or_else(|| cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)))
    }
}

fn json(value: &cel::Value) -> Value {
    match value {
        cel::Value::List(items) => items.iter().map(json).collect(),
        cel::Value::Map(map) => map.map.iter().map(|(key, member)| (key.to_string(), json(member))).collect(),
        cel::Value::Int(number) => (*number).into(),
        cel::Value::UInt(number) => (*number).into(),
        cel::Value::Float(number) => (*number).into(),
        cel::Value::String(text) => text.as_str().into(),
        cel::Value::Bool(holds) => (*holds).into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn holds(source: &str) -> Result<bool, CelError> {
        let req = json!({"tag": "us.pkg.dev/p/r/app:1.1", "n": 5, "list": ["a", "b"], "none": []});
        let res = json!({"metadata": {"name": "app"}});
        Expression::compile(source, &["req", "res"])?.holds(&[("req", &req), ("res", &res)])
    }

    #[test]
    fn filters_see_the_request_and_the_resource() {
        for source in [
            "res.metadata.name == 'app' && req.n == 5",
            "req.tag.split('/').last().value().split(':').first().value() == 'app'",
            "!has(res.metadata.annotations)",
            "req.list.exists(x, x.upperAscii() == 'B')",
            "req.list.map(x, x + '!').join(',') == 'a!,b!'",
            "!req.none.first().hasValue()",
            "req.?missing.orValue('d') == 'd'",
            "req.tag.matches('^us')",
            "type(req.n) == double && type(req.tag) == string",
            "optional.of(1).hasValue() && !optional.none().hasValue()",
            "sets.contains(req.list, ['b']) && !sets.contains(['b'], req.list) && sets.contains(req.list, [])",
            "sets.equivalent(req.list, ['b', 'a', 'b']) && !sets.equivalent(req.list, ['a'])",
            "sets.intersects(req.list, ['b', 'c']) && !sets.intersects(req.list, [])",
            "base64.encode(base64.decode('aGk=')) == 'aGk=' && string(base64.decode('aGk')) == 'hi'",
            "strings.quote(req.list[0]) == '\"a\"'",
            "[req.?tag, req.?missing].unwrapOpt() == [req.tag] && optional.unwrap([optional.of(1)]) == [1]",
            "req.list.exists(req, req == 'b' && .req.n == 5 && .size(.req.list) == 2)",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
    }

    #[test]
    fn what_gives_no_truth_is_an_error() {
        for source in ["req.missing == 1", "req.n", "req.n +", "request.n == 5", "other", "req.list[7] == 'a'"] {
            assert!(holds(source).is_err(), "{source}");
        }
        let error = Expression::compile("request.n == 5", &["req", "res"]).expect_err("an unknown name").to_string();
        assert_eq!(error, "undeclared reference to 'request'; there are req, res");
    }

    #[test]
    fn an_open_expression_sees_the_members_of_any_object() {
        let object =
            json!({"spec": {"replicas": 3}, "data": {"half": 0.5}, "status": {"ready": true}, "type": "Opaque"});
        let holds = |source: &str| Expression::open(source)?.holds_for(&object);
        for source in [
            "status.ready",
            "spec.replicas + 1 == 4 && spec.replicas / 2 == 1 && type(spec.replicas) == int",
            "data.half * 2.0 == 1.0 && type(data.half) == double",
            "!has(spec.paused)",
            "type == 'Opaque'",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
        for source in ["spec.replicas", "status.missing", "nothing.at.all", "has(nothing.here)"] {
            assert!(holds(source).is_err(), "{source}");
        }
        assert!(Expression::open("status.").is_err());
    }

    #[test]
    fn loops_over_too_much_are_refused_before_they_run() {
        let req = json!({"list": vec![1; 10_000]});
        let nested = "req.list.exists(a, req.list.exists(b, a + b == 3.0))";
        let evaluate = |source: &str| Expression::compile(source, &["req"]).unwrap().holds(&[("req", &req)]);
        assert!(evaluate(nested).expect_err("it is refused").to_string().contains("too long"));
        assert_eq!(evaluate("req.list.exists(a, a == 1.0)"), Ok(true));
        let long = format!("req.list == {}", "[".repeat(20_000));
        assert!(Expression::compile(&long, &["req"]).is_err());
        for deep in ["(", "[", "!(", "1+(", "f(", "-", "1+", "a.", "1?1:"] {
            assert!(Expression::compile(&deep.repeat(3000), &["a"]).is_err(), "{deep}");
            for times in [10, 20, 24, 60, 100, 190, 200] {
                let _ = Expression::compile(&format!("{}1", deep.repeat(times)), &["a"]);
            }
        }
        let flat = format!("1{} > 0", "+1".repeat(150));
        assert_eq!(Expression::compile(&flat, &[]).unwrap().holds(&[]), Ok(true));
        assert!(Expression::compile(&format!("{}1{}", "(".repeat(24), ")".repeat(24)), &[]).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_breaks_the_reader(source in "[a-z(){}\\[\\].,:'\"!&|<>=+?0-9 -]{0,40}") {
            if let Ok(expression) = Expression::compile(&source, &["a", "b"]) {
                let _ = expression.value(&[("a", &json!({"b": [1, "x"]})), ("b", &json!("t"))]);
            }
        }
    }
}
