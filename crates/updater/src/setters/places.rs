//! The places of a file that its markers name, apart from any policy: what is worth remembering of it. Pure.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    Policies, Warning, lines,
    marker::{self, Marker, Reading},
    scan::{Comment, Scalar, Scan},
};

/// What the markers of a file name, and what is wrong with the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Those beside their values first: of two markers for one value the first counts.
    places: Vec<Place>,
    /// By line.
    problems: Vec<(usize, String)>,
}

/// A marker and the value that it marks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    marker: Marker,
    /// Line of the marker, from 1.
    line: usize,
    /// Where the value begins.
    start: usize,
    value: String,
}

/// A place by its index, and the value that it gets.
pub(super) type Due = (usize, String);

impl Places {
    /// A file that cannot be read.
    pub(super) fn unreadable(line: usize, message: String) -> Self {
        Self { places: Vec::new(), problems: vec![(line, message)] }
    }

    /// The places of a file, and in the same order their scalars.
    pub(super) fn find<'a>(text: &str, scan: &'a Scan) -> (Self, Vec<&'a Scalar>) {
        let (mut found, mut scalars) = (Self::default(), Vec::new());
        // Of two markers for one value the one beside it counts, as in Flux.
        let (beside, above): (Vec<&Comment>, Vec<&Comment>) = scan.comments.iter().partition(|comment| comment.beside);
        // Line and offset counted so far: comments come nearly in order, so each line is counted about once.
        let mut counted = (1, 0);
        for comment in beside.into_iter().chain(above) {
            let marked = match marker::read(&comment.text) {
                Reading::None => continue,
                Reading::Malformed(problem) => Err(format!("marker is ignored: {problem}")),
                Reading::Marker(marker) => scan.marked(text, comment).map(|scalar| (scalar, marker)),
            };
            counted = lines::number(text, comment.span.start, counted);
            let line = counted.0;
            match marked {
                Err(problem) => found.problems.push((line, problem)),
                Ok((scalar, marker)) => {
                    let value = value(scalar).to_owned();
                    found.places.push(Place { marker, line, start: scalar.span.start, value });
                    scalars.push(scalar);
                }
            }
        }
        (found, scalars)
    }

    /// The places whose value is behind, in the order of the file, and what is wrong.
    pub(super) fn due(&self, file: &str, policies: &Policies) -> (Vec<Due>, Vec<Warning>) {
        let mut problems = self.problems.clone();
        let mut followed = BTreeMap::new();
        for (index, Place { marker, line, start, value }) in self.places.iter().enumerate() {
            match (policies.value(marker), followed.entry(*start)) {
                (None, _) if policies.is_undecided(&marker.policy) => {}
                (None, _) => {
                    let unknown = || format!("marker is ignored: no policy {:?} with an image is known", marker.policy);
                    problems.push((*line, policies.invalid(&marker.policy).unwrap_or_else(unknown)));
                }
                (Some(new), Entry::Vacant(entry)) => {
                    entry.insert((*value != new).then_some((index, new)));
                }
                (Some(_), Entry::Occupied(_)) => {}
            }
        }
        problems.sort_by_key(|(line, _)| *line);
        let warning = |(line, message)| Warning { file: file.to_owned(), line, message };
        (followed.into_values().flatten().collect(), problems.into_iter().map(warning).collect())
    }

    /// What there is to say of the file when none of its values is behind; none if one is, and the file has to be read.
    pub fn settled(&self, file: &str, policies: &Policies) -> Option<Vec<Warning>> {
        let (due, warnings) = self.due(file, policies);
        due.is_empty().then_some(warnings)
    }

    /// How many there are: markers and problems.
    pub fn len(&self) -> usize {
        self.places.len() + self.problems.len()
    }

    /// Whether the file has no marker at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The marker of a place.
    pub(super) fn marker(&self, index: usize) -> &Marker {
        &self.places[index].marker
    }
}

/// What a scalar says. A block keeps its header, and with it perhaps a line end behind the value.
fn value(scalar: &Scalar) -> &str {
    if scalar.is_block() { scalar.value.trim_end_matches('\n') } else { &scalar.value }
}
