//! Reads a JSON value as a Rust type, with errors that name the field by its path.
//!
//! Every object goes through this one deserializer. The kinds are large, and each deserializer they are read with is a
//! copy of their code in the binary; a wrapper that follows paths around another deserializer would be a third.

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess,
        Unexpected, VariantAccess, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// The object as its Rust type. The error names the field by its path: `spec.interval: invalid duration "1y"`.
pub fn typed<T: DeserializeOwned>(object: &Value) -> Result<T, String> {
    T::deserialize(Reader(object)).map_err(|error| error.to_string())
}

/// A value as JSON text. `Value`'s own `Display` goes through a formatter, piece by piece, which takes twice as long.
pub fn text(value: &Value) -> String {
    // A value has neither keys that are no text nor numbers that JSON does not know.
    serde_json::to_string(value).unwrap_or_default()
}

/// What is wrong, and where: the steps of the path, innermost first.
#[derive(Debug)]
struct Error {
    message: String,
    path: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Index(usize),
}

impl Error {
    #[cold]
    fn within_field(mut self, name: &str) -> Self {
        self.path.push(Step::Field(name.to_owned()));
        self
    }

    #[cold]
    fn within_item(mut self, index: usize) -> Self {
        self.path.push(Step::Index(index));
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, step) in self.path.iter().rev().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(number) => write!(f, "[{number}]")?,
            }
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.message)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), path: Vec::new() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = in_yaml(&expected.to_string());
        match found {
            Unexpected::Unit => Self::custom(format_args!("invalid type: null, expected {expected}")),
            Unexpected::Seq => Self::custom(format_args!("invalid type: list, expected {expected}")),
            Unexpected::Map => Self::custom(format_args!("invalid type: object, expected {expected}")),
            _ => Self::custom(format_args!("invalid type: {found}, expected {expected}")),
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("invalid value: {found}, expected {}", in_yaml(&expected.to_string())))
    }
}

/// What Rust calls a type, in the words of who writes manifests.
fn in_yaml(expected: &str) -> String {
    let integer = |name: &str| {
        let (sign, bits) = name.split_at_checked(1)?;
        let bits: u32 = bits.parse().ok().filter(|bits| (8..=64).contains(bits))?;
        match sign {
            "u" => Some(format!("a whole number from 0 to {}", u64::MAX >> (64 - bits))),
            "i" => Some(format!("a whole number from {} to {}", i64::MIN >> (64 - bits), i64::MAX >> (64 - bits))),
            _ => None,
        }
    };
    match expected {
        "usize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a map" => "an object".into(),
        "a boolean" => "true or false".into(),
        name if name.starts_with("struct ") => "an object".into(),
        name => integer(name).unwrap_or_else(|| name.to_owned()),
    }
}

#[derive(Clone, Copy)]
struct Reader<'v>(&'v Value);

impl<'v> Reader<'v> {
    /// What the value is.
    fn kind(self) -> Unexpected<'v> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Unexpected::Unsigned(value),
                (None, Some(value)) => Unexpected::Signed(value),
                (None, None) => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
        }
    }

    /// The value is of another type than is asked for.
    #[cold]
    fn misfit(self, expected: &dyn Expected) -> Error {
        Error::invalid_type(self.kind(), expected)
    }

    fn number<V: Visitor<'v>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind() {
            Unexpected::Unsigned(value) => visitor.visit_u64(value),
            Unexpected::Signed(value) => visitor.visit_i64(value),
            Unexpected::Float(value) => visitor.visit_f64(value),
            _ => Err(self.misfit(&visitor)),
        }
    }
}

/// The methods that read a value only one way, whatever the type of the visitor.
macro_rules! only {
    ($($method:ident)* => $way:ident) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> { self.$way(visitor) })*
    };
}

/// Each method builds the code for the form that is asked for and no other: with all forms everywhere the kinds would take
/// nearly twice the room. An object is no list, whatever Rust makes of tuples and structs.
impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(fields) => visitor.visit_map(Fields { fields: fields.iter(), value: None, keeps_null: true }),
            Value::Number(_) => self.number(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) => {
                visitor.visit_map(Fields { fields: fields.iter(), value: None, keeps_null: false })
            }
            _ => Err(self.misfit(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            _ => Err(self.misfit(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.misfit(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.misfit(&visitor)),
        }
    }

    only! { deserialize_string deserialize_char => deserialize_str }
    only! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64 => number
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(Variant { variant, content: None }),
            Value::Object(fields) if fields.len() == 1 => match fields.iter().next() {
                Some((variant, content)) => visitor.visit_enum(Variant { variant, content: Some(content) }),
                None => Err(Error::custom("a variant is expected")),
            },
            _ => Err(Error::custom("a string, or an object with a single field, is expected")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Items<'v> {
    items: &'v [Value],
    next: usize,
}

impl<'v> SeqAccess<'v> for Items<'v> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'v>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let index = self.next;
        let Some(item) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(Reader(item)).map(Some).map_err(|error| error.within_item(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Fields<'v> {
    fields: <&'v Map<String, Value> as IntoIterator>::IntoIter,
    value: Option<(&'v str, &'v Value)>,
    /// Whether a field that is null counts as given. In kinds it does not, as before an API server, which drops it: `hosts:`
    /// with nothing behind it is no hosts. Source: Kubernetes, "Defaulting and Nullable" of custom resources.
    keeps_null: bool,
}

impl<'v> MapAccess<'v> for Fields<'v> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'v>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let keeps_null = self.keeps_null;
        let Some((name, value)) = self.fields.find(|(_, value)| keeps_null || !value.is_null()) else {
            return Ok(None);
        };
        self.value = Some((name, value));
        // A key that is no key of the type, such as a word where a number is expected.
        let key: StrDeserializer<'_, Error> = StrDeserializer::new(name);
        seed.deserialize(key).map(Some).map_err(|error| error.within_field(name))
    }

    fn next_value_seed<S: DeserializeSeed<'v>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Some((name, value)) = self.value.take() else { return Err(Error::custom("a value without its key")) };
        seed.deserialize(Reader(value)).map_err(|error| error.within_field(name))
    }

    fn size_hint(&self) -> Option<usize> {
        self.keeps_null.then(|| self.fields.len())
    }
}

struct Variant<'v> {
    variant: &'v str,
    content: Option<&'v Value>,
}

impl<'v> EnumAccess<'v> for Variant<'v> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'v>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = StrDeserializer::new(self.variant);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'v> Variant<'v> {
    fn content(&self) -> Result<Reader<'v>, Error> {
        self.content.map(Reader).ok_or_else(|| Error::custom("the variant needs a value"))
    }
}

impl<'v> VariantAccess<'v> for Variant<'v> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(Error::custom("the variant takes no value")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'v>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.content()?).map_err(|error| error.within_field(self.variant))
    }

    fn tuple_variant<V: Visitor<'v>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'v>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Shape {
        Point,
        Circle(u8),
        Box { width: u8 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        count: u8,
        #[serde(default)]
        shape: Option<Shape>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        name: String,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }

    #[test]
    fn errors_name_the_field_by_its_path() {
        for (object, message) in [
            (json!({}), "missing field `name`"),
            (json!({"name": 1}), "name: invalid type: integer `1`, expected a string"),
            (json!({"name": null}), "missing field `name`"),
            (json!({"name": "n", "list": [null]}), "list[0]: invalid type: null, expected an object"),
        ] {
            assert_eq!(typed::<Outer>(&object).unwrap_err(), message);
        }
        let lists: Result<BTreeMap<String, Vec<Inner>>, _> = typed(&json!({"a": [{"count": 1}, {"count": 300}]}));
        assert_eq!(
            lists.unwrap_err(),
            "a[1].count: invalid value: integer `300`, expected a whole number from 0 to 255"
        );
        let lists: Result<Vec<Inner>, _> = typed(&json!([{"count": []}]));
        assert_eq!(lists.unwrap_err(), "[0].count: invalid type: list, expected a whole number from 0 to 255");
        let objects: Result<Vec<Outer>, _> = typed(&json!([5]));
        assert_eq!(objects.unwrap_err(), "[0]: invalid type: integer `5`, expected an object");
        let objects: Result<Vec<Inner>, _> = typed(&json!([[1]]));
        assert_eq!(objects.unwrap_err(), "[0]: invalid type: list, expected an object");
        let texts: Result<BTreeMap<String, String>, _> = typed(&json!({"a": 1}));
        assert_eq!(texts.unwrap_err(), "a: invalid type: integer `1`, expected a string");
        let switches: Result<Vec<bool>, _> = typed(&json!(["true"]));
        assert_eq!(switches.unwrap_err(), "[0]: invalid type: string \"true\", expected true or false");
        assert_eq!(in_yaml("i8"), "a whole number from -128 to 127");
        let shapes: Result<Vec<Shape>, _> = typed(&json!([{"circle": "x"}]));
        assert_eq!(
            shapes.unwrap_err(),
            "[0].circle: invalid type: string \"x\", expected a whole number from 0 to 255"
        );
    }

    #[test]
    fn a_field_that_is_null_is_not_there_but_within_free_values() {
        let given = json!({"name": "n", "list": null, "free": {"a": null, "b": [null]}});
        let read: Outer = typed(&given).unwrap();
        assert_eq!(read.list, []);
        assert_eq!(read.rest["free"], given["free"]);
        let texts: BTreeMap<String, String> = typed(&json!({"a": null, "b": "x"})).unwrap();
        assert_eq!(texts, BTreeMap::from([("b".to_owned(), "x".to_owned())]));
    }

    #[test]
    fn every_form_is_read_as_serde_json_reads_it() {
        let forms = json!({"name": "n", "list": [
            {"count": 1}, {"count": 2, "shape": null}, {"count": 3, "shape": "point"},
            {"count": 4, "shape": {"circle": 5}}, {"count": 6, "shape": {"box": {"width": 7}}}
        ], "more": {"x": [1.5, -2, true]}});
        let read: Outer = typed(&forms).unwrap();
        assert_eq!(read, serde_json::from_value(forms).unwrap());
    }
}
