//! Sentences of film reviews, put together by code.
//!
//! What a sentence says of its film cannot be told from its words one by one: "not", "far from" and the like turn an adjective
//! around, and of two clauses the one that "but" or "although" gives the last say decides.

use crate::text::pick;
use std::collections::HashSet;
use wengert::Rng;
use wengert::data::text::LabelledTexts;

const FILM: [&str; 20] = [
    "the film",
    "this movie",
    "the plot",
    "the acting",
    "the dialogue",
    "the ending",
    "the second half",
    "the script",
    "the lead performance",
    "the camera work",
    "the music",
    "the pacing",
    "the supporting cast",
    "the premise",
    "the direction",
    "the humour",
    "the opening scene",
    "the romance",
    "the villain",
    "the whole thing",
];
/// Bad and good, in this order here and below.
const ADJECTIVES: [[&str; 20]; 2] = [
    [
        "dull",
        "clumsy",
        "tedious",
        "lifeless",
        "predictable",
        "shallow",
        "silly",
        "stale",
        "awkward",
        "forgettable",
        "dreadful",
        "tiresome",
        "muddled",
        "bland",
        "overlong",
        "pointless",
        "wooden",
        "bad",
        "lazy",
        "poor",
    ],
    [
        "moving",
        "superb",
        "gripping",
        "clever",
        "tender",
        "funny",
        "brilliant",
        "graceful",
        "honest",
        "fresh",
        "delightful",
        "thoughtful",
        "witty",
        "haunting",
        "charming",
        "good",
        "inventive",
        "warm",
        "great",
        "subtle",
    ],
];
const VERBS: [[&str; 6]; 2] = [
    ["hate", "regret", "dislike", "mock", "forget", "loathe"],
    ["enjoy", "love", "admire", "praise", "treasure", "recommend"],
];
/// Before an adjective; it is left as it is, or turned around.
const BEFORE: [&[&str]; 2] = [
    &["is", "is truly", "is rather", "is so", "remains", "turns out to be", "is , to my surprise ,", "is always"],
    &["is not", "is never", "is far from", "is anything but", "is hardly", "is in no way", "is not at all"],
];
const READERS: [&[&str]; 2] = [
    &["i", "you will", "everyone will", "most of us will", "my friends"],
    &["i do not", "you will not", "nobody will", "few of us will", "my friends never"],
];

/// `count` different sentences, as many of them positive (1) as negative (0), in random order.
pub fn reviews(count: usize, rng: &mut Rng) -> LabelledTexts {
    let mut all = LabelledTexts::default();
    let mut seen = HashSet::new();
    while all.len() < count {
        let label = all.len() % 2;
        let sentence = sentence(label, rng);
        if seen.insert(sentence.clone()) {
            all.texts.push(sentence);
            all.labels.push(label as i64);
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    rng.shuffle(&mut order);
    LabelledTexts {
        texts: order.iter().map(|&i| std::mem::take(&mut all.texts[i])).collect(),
        labels: order.iter().map(|&i| all.labels[i]).collect(),
    }
}

fn sentence(label: usize, rng: &mut Rng) -> String {
    let (says, denies) = (clause(label, rng), clause(1 - label, rng));
    match rng.below(10) {
        0..4 => format!("{says} ."),
        4 => format!("{says} , and {} .", clause(label, rng)),
        5 => format!("{denies} , but {says} ."),
        6 => format!("although {denies} , {says} ."),
        7 => format!("{says} , even though {denies} ."),
        8 => format!("{denies} ; still , {says} ."),
        _ => format!("{says} , no matter that {denies} ."),
    }
}

fn clause(label: usize, rng: &mut Rng) -> String {
    let turned = usize::from(rng.below(4) == 0);
    let film = pick(&FILM, rng);
    if rng.below(3) == 0 {
        format!("{} {} {film}", pick(READERS[turned], rng), pick(&VERBS[label ^ turned], rng))
    } else {
        format!("{film} {} {}", pick(BEFORE[turned], rng), pick(&ADJECTIVES[label ^ turned], rng))
    }
}
