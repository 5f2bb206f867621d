//! Names, places, dates: what the tags of a sentence stand for.

use std::ops::Range;

/// Tokens in a row that are one thing, such as a person's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entity<'a> {
    /// What it is: `PER` of `B-PER`.
    pub kind: &'a str,
    /// The numbers of its tokens.
    pub tokens: Range<usize>,
}

/// The entities that the tags of a sentence stand for, in order.
///
/// A tag is `O`, for none, or a kind behind a letter and a hyphen: `B` for the first token, `I` inside, `E` or `L` for the
/// last one, `S` or `U` for a single one (IOB1, IOB2, IOBES, BILOU). Whatever follows whatever is counted as by the script of
/// the CoNLL tasks, `conlleval`: an entity goes on where the kind is the same and the tag is not that of a first or single
/// token; a tag without letter is inside.
///
/// ```
/// use wengert::data::text::{Entity, entities};
/// let tags = ["O", "B-PER", "I-PER", "B-PER", "O", "I-LOC"];
/// let found = entities(&tags);
/// assert_eq!(found.len(), 3);
/// assert_eq!(found[0], Entity { kind: "PER", tokens: 1..3 });
/// assert_eq!(found[2], Entity { kind: "LOC", tokens: 5..6 });
/// ```
pub fn entities(tags: &[impl AsRef<str>]) -> Vec<Entity<'_>> {
    let mut all: Vec<Entity> = Vec::new();
    // Whether the last entity may go on.
    let mut open = false;
    for (i, tag) in tags.iter().enumerate() {
        let (place, kind) = parts(tag.as_ref());
        if place == "O" {
            open = false;
            continue;
        }
        match all.last_mut() {
            Some(last) if open && last.kind == kind && matches!(place, "I" | "E" | "L") => last.tokens.end = i + 1,
            _ => all.push(Entity { kind, tokens: i..i + 1 }),
        }
        open = matches!(place, "B" | "I");
    }
    all
}

/// The letter of a tag and its kind.
fn parts(tag: &str) -> (&str, &str) {
    const PLACES: [&str; 7] = ["O", "B", "I", "E", "L", "S", "U"];
    match tag.split_once('-') {
        Some((place, kind)) if PLACES.contains(&place) => (place, kind),
        None if PLACES.contains(&tag) => (tag, ""),
        _ => ("I", tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `kind:first-last`.
    fn found(tags: &str) -> String {
        let tags: Vec<&str> = tags.split(' ').collect();
        let shown = |e: &Entity| format!("{}:{}-{}", e.kind, e.tokens.start, e.tokens.end - 1);
        entities(&tags).iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_scheme_gives_the_same_entities() {
        let expected = "A:0-1 A:2-2 B:3-5 A:7-7";
        assert_eq!(found("B-A I-A B-A B-B I-B I-B O B-A"), expected, "IOB2");
        assert_eq!(found("I-A I-A B-A I-B I-B I-B O I-A"), expected, "IOB1");
        assert_eq!(found("B-A E-A S-A B-B I-B E-B O S-A"), expected, "IOBES");
        assert_eq!(found("B-A L-A U-A B-B I-B L-B O U-A"), expected, "BILOU");
    }

    #[test]
    fn a_sequence_that_no_scheme_allows_has_entities_too() {
        assert_eq!(found("I-A I-B B-A I-B"), "A:0-0 B:1-1 A:2-2 B:3-3");
        assert_eq!(found("E-A E-A S-A I-A I-A"), "A:0-0 A:1-1 A:2-2 A:3-4");
        assert_eq!(found("O I-A O E-A"), "A:1-1 A:3-3");
    }

    #[test]
    fn kinds_may_have_hyphens_and_tags_no_letter() {
        assert_eq!(found("B-x-y I-x-y NN NN x-y VB"), "x-y:0-1 NN:2-3 x-y:4-4 VB:5-5");
        assert_eq!(found("B I O I B"), ":0-1 :3-3 :4-4");
        assert_eq!(entities(&[""; 0]), []);
    }
}
