//! Sentences with names, places and dates, put together by code.
//!
//! Names and places are made of the same stems: the ending tells them apart, or, where there is none, what stands around them.
//! April, May and June are names as well as months, and numbers are not always years. A quarter of all names, first names and
//! places is kept for the test.

use crate::text::pick;
use wengert::Rng;
use wengert::data::text::Sentence;

const STEMS: [&str; 28] = [
    "Hart", "Lind", "Mor", "Kal", "Win", "Feld", "Gar", "Tor", "Brand", "Hol", "Sand", "Wes", "Nor", "Dal", "Rim",
    "Vas", "Kos", "Bel", "Stav", "Ros", "Mar", "Eck", "Grun", "Hal", "Lor", "Tam", "Ulv", "Zan",
];
const OF_NAMES: [&str; 10] = ["son", "mann", "ova", "ski", "sen", "ini", "idis", "ley", "wright", ""];
const OF_PLACES: [&str; 10] = ["burg", "ville", "ton", "ford", "stad", "haven", "dorf", "mouth", "ley", ""];
const FIRST_NAMES: [&str; 36] = [
    "Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irina", "Jonas", "Karin", "Leon", "Mira",
    "Nils", "Olga", "Paul", "Rosa", "Simon", "Tilda", "Victor", "Wanda", "April", "May", "June", "Adam", "Berta",
    "Carl", "Dora", "Emil", "Frida", "Georg", "Hanna", "Ivan", "Judit", "Klaus", "Lotte",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const NOTICES: [&str; 36] = [
    "PER was born in LOC on DATE .",
    "On DATE PER moved from LOC to LOC .",
    "Dr PER opens a new practice in LOC .",
    "The trial of PER begins on DATE .",
    "PER and PER met in LOC .",
    "Trains between LOC and LOC will not run until DATE .",
    "The mayor of LOC , PER , resigned on DATE .",
    "Tickets for the concert in LOC are sold out .",
    "Ms PER , who lives near LOC , won the prize .",
    "Since DATE the bridge at LOC has been closed .",
    "\" We had no choice , \" said PER .",
    "LOC beat LOC by NUMBER points .",
    "The museum in LOC shows NUMBER pictures by PER .",
    "Police in LOC are looking for PER .",
    "PER has not been seen since DATE .",
    "Rain is expected in LOC on DATE .",
    "It was PER who wrote the letter .",
    "They may march to LOC on DATE .",
    "The letter that PER sent to PER on DATE was found in LOC .",
    "NUMBER people came to hear PER in LOC .",
    "The Gazette of DATE praises PER .",
    "Bus NUMBER goes to LOC .",
    "Mr PER thanks his friends .",
    "A house in LOC was sold for NUMBER crowns .",
    "Yesterday PER left for LOC .",
    "Nobody told PER .",
    "The road to LOC is open again .",
    "The factory in LOC employs NUMBER workers .",
    "Room NUMBER is reserved for PER until DATE .",
    "PER will speak about the old harbour .",
    "Heavy snow fell on LOC .",
    "In DATE PER married PER .",
    "The council meets on DATE .",
    "Our reporter PER writes from LOC .",
    "Winter came early , and LOC was cut off until DATE .",
    "Professor PER found NUMBER coins near LOC .",
];

/// Sentences to learn from and sentences to test on; of the names in the latter, half are those that the former do not have.
pub fn notices(train: usize, test: usize, rng: &mut Rng) -> [Vec<Sentence>; 2] {
    let learned = (0..train).map(|_| notice(false, rng)).collect();
    [learned, (0..test).map(|_| notice(true, rng)).collect()]
}

fn notice(test: bool, rng: &mut Rng) -> Sentence {
    let mut sentence = Sentence::default();
    for slot in pick(&NOTICES, rng).split(' ') {
        let kept = test && rng.below(2) == 0;
        match slot {
            "PER" => add(&mut sentence, slot, &person(kept, rng)),
            "LOC" => add(&mut sentence, slot, &place(kept, rng)),
            "DATE" => add(&mut sentence, slot, &date(rng)),
            "NUMBER" => add(&mut sentence, "", &(2 + rng.below(2_400)).to_string()),
            word => add(&mut sentence, "", word),
        }
    }
    sentence
}

/// Words that are something of this kind, or nothing.
fn add(sentence: &mut Sentence, kind: &str, words: &str) {
    for (i, word) in words.split(' ').enumerate() {
        sentence.tokens.push(word.to_string());
        let place = if i == 0 { "B" } else { "I" };
        sentence.tags.push(if kind.is_empty() { "O".to_string() } else { format!("{place}-{kind}") });
    }
}

fn person(kept: bool, rng: &mut Rng) -> String {
    let (first, last) = (first_name(kept, rng), compound(&OF_NAMES, kept, rng));
    match rng.below(4) {
        0 => last,
        1 => first.to_string(),
        _ => format!("{first} {last}"),
    }
}

fn place(kept: bool, rng: &mut Rng) -> String {
    let name = compound(&OF_PLACES, kept, rng);
    match rng.below(6) {
        0 => format!("{} {name}", pick(&["New", "Port", "Lake", "Upper", "San"], rng)),
        _ => name,
    }
}

fn date(rng: &mut Rng) -> String {
    let (month, day, year) = (pick(&MONTHS, rng), 1 + rng.below(28), 1900 + rng.below(130));
    match rng.below(6) {
        0 => format!("{day} {month} {year}"),
        1 => format!("{month} {day} , {year}"),
        2 => format!("{day} {month}"),
        3 => format!("{month} {year}"),
        4 => pick(&DAYS, rng).to_string(),
        _ => format!("{} , {day} {month}", pick(&DAYS, rng)),
    }
}

/// A stem with an ending; every stem and every ending is there to learn from, only not with each other.
fn compound(endings: &[&str], kept: bool, rng: &mut Rng) -> String {
    loop {
        let (stem, ending) = (rng.below(STEMS.len()), rng.below(endings.len()));
        if is_kept(stem + ending) == kept {
            return format!("{}{}", STEMS[stem], endings[ending]);
        }
    }
}

fn first_name(kept: bool, rng: &mut Rng) -> &'static str {
    loop {
        let number = rng.below(FIRST_NAMES.len());
        if is_kept(number) == kept {
            return FIRST_NAMES[number];
        }
    }
}

/// Whether a name is kept for the test.
fn is_kept(number: usize) -> bool {
    number.is_multiple_of(4)
}
