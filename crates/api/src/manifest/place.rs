//! Where the fields of a manifest stand, by the positions that the YAML parser gives.

use std::{collections::BTreeMap, ops::Range, sync::OnceLock};

use granit_parser::{Event, Parser};

use super::{Refusal, deepened, split};

/// Where an object stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line of the file at which it begins, from 1: that of its YAML document, or of its item of a `kind: List`.
    pub line: usize,
    /// Which item of a `kind: List` it is.
    pub(super) item: Option<usize>,
}

/// A manifest file that can be asked where the fields of its objects stand. Each YAML document is walked once, and only
/// if it is asked about.
#[derive(Debug)]
pub struct Places {
    text: String,
    pieces: Vec<Piece>,
}

/// A YAML document: the line at which it begins, its bytes, and its fields once they were asked for.
#[derive(Debug)]
struct Piece {
    line: usize,
    bytes: Range<usize>,
    fields: OnceLock<Fields>,
}

impl Places {
    /// Those of a file's text.
    pub fn of(text: String) -> Self {
        let pieces = split(&text).into_iter().map(|(line, piece)| {
            let start = piece.as_ptr().addr() - text.as_ptr().addr();
            Piece { line, bytes: start..start + piece.len(), fields: OnceLock::new() }
        });
        Self { pieces: pieces.collect(), text }
    }

    /// The line of an object's field, as [`Fields::line`] finds it; of the object if there is none.
    pub fn line(&self, place: Place, field: &str) -> usize {
        let below = self.pieces.partition_point(|piece| piece.line <= place.line);
        let Some(piece) = below.checked_sub(1).map(|index| &self.pieces[index]) else { return place.line };
        let fields = piece.fields.get_or_init(|| Fields::of(&self.text[piece.bytes.clone()]));
        let found = match place.item {
            Some(item) => fields.line(&format!("items[{item}].{field}")),
            None => fields.line(field),
        };
        found.map_or(place.line, |line| piece.line + line - 1)
    }
}

/// Where the fields of one YAML document stand.
#[derive(Debug, Default)]
pub struct Fields {
    /// The first one is the whole.
    nodes: Vec<Node>,
}

/// A value that holds others.
#[derive(Debug)]
enum Node {
    Object(BTreeMap<Box<str>, Entry>),
    List(Vec<Entry>),
}

/// A field or an item.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The line of its key, or at which the item begins.
    line: usize,
    /// Its value's place among the nodes, if that holds others.
    node: Option<usize>,
}

/// Most steps of a path: what refers to itself would have no end.
const MOST_STEPS: usize = 1000;

impl Fields {
    /// Those of a text. There are none if it cannot be read.
    pub fn of(text: &str) -> Self {
        // What is put in for the parser's sake are blanks: lines stay.
        deepened(text.trim_start_matches('\u{feff}'), walk).map(|(fields, _)| fields).unwrap_or_default()
    }

    /// The line, from 1, of a path such as `spec.metrics[1].name`, or of its last key or item that is there. `None` if not
    /// even the first one is. Keys may have dots.
    pub fn line(&self, path: &str) -> Option<usize> {
        let (mut node, mut rest, mut line) = (Some(0), path, None);
        for _ in 0..MOST_STEPS {
            let Some((entry, below)) = node.and_then(|node| self.step(node, rest)) else { break };
            (node, rest, line) = (entry.node, below, Some(entry.line));
        }
        line
    }

    /// The first step of a path, and what is left of it.
    fn step<'p>(&self, node: usize, path: &'p str) -> Option<(Entry, &'p str)> {
        match self.nodes.get(node)? {
            Node::List(items) => {
                let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
                items.get(number.parse::<usize>().ok()?).map(|item| (*item, rest))
            }
            Node::Object(fields) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                let ends = path.rmatch_indices(['.', '[']).map(|(end, _)| end);
                // The longest key first: a key with dots is not several.
                let mut keys = std::iter::once(path.len()).chain(ends).map(|end| path.split_at(end));
                let found = keys.find_map(|(key, rest)| fields.get(key).map(|field| (*field, rest)));
                let merged = || fields.get("<<").map(|merged| (*merged, path));
                if path.is_empty() { None } else { found.or_else(merged) }
            }
        }
    }

    /// A collection, and the place it has among the nodes.
    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Puts the next value into the innermost collection: as a key, as what belongs to the last key, or as an item.
    fn put(&mut self, open: Option<&mut Open>, entry: Entry, text: &str) {
        let Some(open) = open else { return };
        match (&mut self.nodes[open.node], open.key.take()) {
            (Node::List(items), _) => items.push(entry),
            (Node::Object(_), None) => open.key = Some((text.into(), entry.line)),
            (Node::Object(fields), Some((key, line))) => drop(fields.insert(key, Entry { line, ..entry })),
        }
    }
}

/// A collection that is open.
struct Open {
    node: usize,
    /// The key whose value comes next, and its line.
    key: Option<(Box<str>, usize)>,
}

/// The fields of a text's first document.
fn walk(text: &str) -> Result<Fields, Refusal> {
    let (mut fields, mut open, mut anchors) = (Fields::default(), Vec::<Open>::new(), BTreeMap::new());
    for event in Parser::new_from_str_with_options(text, granit_parser::options! { emit_comments: false }) {
        let (event, span) = event.map_err(|error| (error.marker().line().max(1), error.to_string()))?;
        let line = span.start.line();
        let (node, anchor) = match event {
            Event::MappingStart(_, anchor, _) => (Node::Object(BTreeMap::new()), anchor),
            Event::SequenceStart(_, anchor, _) => (Node::List(Vec::new()), anchor),
            Event::Scalar(text, ..) => {
                fields.put(open.last_mut(), Entry { line, node: None }, &text);
                continue;
            }
            Event::Alias(anchor) => {
                fields.put(open.last_mut(), Entry { line, node: anchors.get(&anchor).copied() }, "");
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            Event::DocumentEnd => break,
            _ => continue,
        };
        let node = fields.push(node);
        anchors.insert(anchor, node);
        fields.put(open.last_mut(), Entry { line, node: Some(node) }, "");
        open.push(Open { node, key: None });
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Document, documents};

    fn lines(text: &str, paths: &[&str]) -> Vec<usize> {
        let fields = Fields::of(text);
        paths.iter().map(|path| fields.line(path).unwrap_or_default()).collect()
    }

    #[test]
    fn a_field_is_found_below_its_parents() {
        let text = "kind: A\nmetadata:\n  range: no\nspec:\n  policy:\n    semver:\n      range: x\n";
        let paths = ["spec.policy.semver.range", "spec.filterTags.pattern", "status", "spec", ""];
        assert_eq!(lines(text, &paths), [7, 4, 0, 4, 0]);
    }

    #[test]
    fn items_are_counted_in_every_style() {
        let block = "spec:\n  items:\n  - a: 1\n  - x:\n    - 5\n    b: 1\n  flow: [1, 2]\n";
        let paths = ["spec.items[1].b", "spec.items[0].a", "spec.items[1].x[0]", "spec.items[7].a", "spec.flow[1]"];
        assert_eq!(lines(block, &paths), [6, 3, 5, 2, 7]);
        let json = "{\n \"spec\": {\"a\": 1,\n  \"items\": [\n   {\"a\": [[],\n    [0,\n1]]}, {\n    \"a\": 2}]}}";
        assert_eq!(lines(json, &["spec.a", "spec.items[0].a[1][1]", "spec.items[1]", "spec.items[1].a"]), [2, 6, 6, 7]);
        assert_eq!(lines("# a list\n- tick: 1\n- hooks:\n    a: 1\n", &["[1].hooks.a", "[0]"]), [4, 2]);
    }

    #[test]
    fn text_that_looks_like_a_field_is_none() {
        let text = "a: |\n  spec:\n    x: 1\nb: \"\n  spec: 1\"\n# spec: 1\nspec: {y: 1, # x: 1\n  'x': 2}\n";
        assert_eq!(lines(text, &["spec.x", "spec.y"]), [8, 7]);
        assert_eq!(lines("items: # - a\n  # - b\n  -\n    - c\n  - x: 1\n    - not: an item\n", &["items[1]"]), [0]);
    }

    #[test]
    fn keys_may_have_dots_anchors_and_merges() {
        let text = "metadata:\n  annotations:\n    a.dev/b: 1\n    a: {dev/b: 2}\nbase: &base\n  x: 1\n  list:\n  - 1\nspec:\n  \
                    <<: *base\n  y: *base\n? [k]\n: 1\nlast: 1\n";
        let annotations = ["metadata.annotations.a.dev/b", "metadata.annotations.a.other", "metadata.annotations.c.d"];
        assert_eq!(lines(text, &annotations), [3, 4, 2]);
        assert_eq!(lines(text, &["spec.list[0]", "spec.y.x", "spec.y", "last"]), [8, 6, 11, 14]);
        assert_eq!(lines("a: &a\n  <<: *a\n", &["a.b"]), [2]);
    }

    #[test]
    fn each_object_of_a_file_has_its_own() {
        let text = "# head\n---\nkind: A\nspec: 1\n---\nkind: List\nitems:\n- kind: B\n  spec:\n    a: 1\n-\n  kind: C\n\n  spec: 1\n\
                    ---\nkind: List\nitems: [{kind: D}, {kind: E,\n  spec: 1}]\n---\nkind: F\na: 'one\ntwo'\nspec: 1\n";
        let found: Vec<Document> = documents(text).into_iter().collect::<Result<_, _>>().unwrap();
        let places = Places::of(text.to_owned());
        let spec: Vec<_> = found.iter().map(|one| places.line(one.place, "spec.a")).collect();
        assert_eq!(spec, [4, 10, 14, 17, 18, 23]);
        let whole: Vec<_> = found.iter().map(|one| places.line(one.place, "")).collect();
        assert_eq!(whole, [2, 8, 12, 17, 17, 19]);
    }

    proptest::proptest! {
        #[test]
        fn asking_never_panics(text in "(\\PC|\n|---\n|: |- |\\{|\\[|a|&a |\\*a){0,200}", path in "[a.\\[\\]0]{0,9}") {
            let places = Places::of(text.clone());
            for document in documents(&text).into_iter().flatten() {
                proptest::prop_assert!(places.line(document.place, &path) >= 1);
            }
        }
    }
}
