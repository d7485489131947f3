//! Selectors of series, and what may follow a part: ranges, subqueries, other times.

use super::{Kind, Parser, Part, Problem};

impl Parser<'_> {
    /// `name{label="value", …}`, with the name read already.
    pub(super) fn selector(&mut self, name: Option<String>, start: usize) -> Result<Part, Problem> {
        let (mut is_named, mut selects) = (name.is_some(), name.is_some());
        if self.scan.take("{") {
            while !self.scan.take("}") {
                let at = self.scan.start();
                let is_quoted = self.scan.sees_any(&['"', '\'', '`']);
                let label = self.scan.label()?;
                let sign = ["=~", "!~", "!=", "="].into_iter().find(|sign| self.scan.take(sign));
                match sign {
                    Some(_) if is_named && label == "__name__" => {
                        return Err(self.scan.refused(at, "the metric's name is given twice"));
                    }
                    Some(sign) => {
                        if !self.scan.sees_any(&['"', '\'', '`']) {
                            return Err(self.scan.unexpected("a text in quotes"));
                        }
                        selects |= self.matches_something(sign)?;
                    }
                    None if is_quoted && is_named => {
                        return Err(self.scan.refused(at, "the metric's name is given twice"));
                    }
                    // A name that is no word stands between the labels.
                    None if is_quoted => (is_named, selects) = (true, selects || !label.is_empty()),
                    None => return Err(self.scan.unexpected("one of = != =~ !~")),
                }
                if !self.scan.take(",") && !self.scan.sees("}") {
                    return Err(self.scan.unexpected("\",\" or \"}\""));
                }
            }
        }
        if !selects {
            let message = "a selector needs a name, or a label whose value may not be empty";
            return Err(self.scan.refused(start, message));
        }
        Ok(Part { kind: Kind::Vector, start, is_selector: true, is_timed: true })
    }

    /// Reads a label's value; whether a series without the label would not do.
    fn matches_something(&mut self, sign: &str) -> Result<bool, Problem> {
        let at = self.scan.start();
        let value = self.scan.text()?;
        let is_pattern = sign.ends_with('~');
        if !is_pattern {
            return Ok((sign == "=") != value.is_empty());
        }
        // What needs unescaping first is left to the server.
        if value.contains('\\') {
            return Ok(true);
        }
        let pattern = regex::Regex::new(&format!("^(?s:{value})$"))
            .map_err(|_| self.scan.mistyped(at, format!("{value:?} is no regular expression")))?;
        Ok((sign == "=~") != pattern.is_match(""))
    }

    /// `[5m]`, `[1h:5m]`, `offset 5m`, `@ start()`, as often as they follow.
    pub(super) fn suffixes(&mut self, mut part: Part) -> Result<Part, Problem> {
        loop {
            let at = self.scan.start();
            if self.scan.take("[") {
                part = self.range(part, at)?;
            } else if self.scan.take_word("offset") {
                let _ = self.scan.take("-") || self.scan.take("+");
                self.scan.duration(true)?;
                self.is_timed(part, at, "offset")?;
            } else if self.scan.take("@") {
                self.moment()?;
                self.is_timed(part, at, "@")?;
            } else {
                return Ok(part);
            }
            part.is_selector = false;
        }
    }

    fn range(&mut self, part: Part, at: usize) -> Result<Part, Problem> {
        self.scan.duration(false)?;
        let is_subquery = self.scan.take(":");
        if is_subquery && !self.scan.sees("]") {
            self.scan.duration(false)?;
        }
        self.scan.expect("]")?;
        if is_subquery && part.kind != Kind::Vector {
            let message = format!("a subquery needs an instant vector, not {}", part.kind.words());
            return Err(self.scan.mistyped(at, message));
        }
        if !is_subquery && !part.is_selector {
            return Err(self.scan.refused(at, "only a selector takes a range; a subquery has a colon: [5m:]"));
        }
        Ok(Part { kind: Kind::Range, start: part.start, is_selector: false, is_timed: true })
    }

    fn moment(&mut self) -> Result<(), Problem> {
        for word in ["start", "end"] {
            if self.scan.take_word(word) {
                self.scan.expect("(")?;
                return self.scan.expect(")");
            }
        }
        let _ = self.scan.take("-") || self.scan.take("+");
        if self.scan.number()? { Ok(()) } else { Err(self.scan.unexpected("a time, start() or end()")) }
    }

    fn is_timed(&self, part: Part, at: usize, word: &str) -> Result<(), Problem> {
        if part.is_timed {
            return Ok(());
        }
        Err(self.scan.refused(at, &format!("{word} must follow a selector, a range or a subquery")))
    }
}
