//! Dates as people write them.

use wengert::Rng;

/// A day of the calendar.
pub struct Date {
    year: usize,
    month: usize,
    day: usize,
    weekday: &'static str,
}

const MONTHS: [(&str, usize); 12] = [
    ("January", 31),
    ("February", 28),
    ("March", 31),
    ("April", 30),
    ("May", 31),
    ("June", 30),
    ("July", 31),
    ("August", 31),
    ("September", 30),
    ("October", 31),
    ("November", 30),
    ("December", 31),
];

/// The first day of 1950 was a Sunday.
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Every day from 1950 to 2049: a year of two digits means one of these.
pub fn calendar() -> Vec<Date> {
    let mut dates = Vec::new();
    for year in 1950..2050 {
        for (month, &(_, days)) in MONTHS.iter().enumerate() {
            let leap = month == 1 && year % 4 == 0; // The only century among them, 2000, was a leap year.
            for day in 1..=days + usize::from(leap) {
                let weekday = WEEKDAYS[dates.len() % 7];
                dates.push(Date { year, month: month + 1, day, weekday });
            }
        }
    }
    dates
}

impl Date {
    /// ISO 8601: `1998-05-03`.
    pub fn iso(&self) -> String {
        format!("{}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// In one of the forms that are in use. Between slashes the month comes first, between points the day.
    pub fn written(&self, rng: &mut Rng) -> String {
        let Date { year: y, month: m, day: d, weekday } = *self;
        let yy = format!("{:02}", y % 100);
        let name = MONTHS[m - 1].0;
        let month = if rng.below(2) == 0 { name } else { &name[..3] };
        let weekday = if rng.below(2) == 0 { weekday } else { &weekday[..3] };
        let th = match (d % 10, d / 10) {
            (_, 1) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        let text = match rng.below(20) {
            0 => self.iso(),
            1 => format!("{y}/{m:02}/{d:02}"),
            2 => format!("{y}{m:02}{d:02}"),
            3 => format!("{d}.{m}.{y}"),
            4 => format!("{d:02}.{m:02}.{y}"),
            5 => format!("{d}.{m}.{yy}"),
            6 => format!("{m}/{d}/{y}"),
            7 => format!("{m:02}/{d:02}/{y}"),
            8 => format!("{m}/{d}/{yy}"),
            9 => format!("{month} {d}, {y}"),
            10 => format!("{month} {d}, '{yy}"),
            11 => format!("{month} {d}{th}, {y}"),
            12 => format!("{d} {month} {y}"),
            13 => format!("{d} {month} '{yy}"),
            14 => format!("{d:02}-{}-{yy}", name[..3].to_uppercase()),
            15 => format!("the {d}{th} of {name} {y}"),
            16 => format!("the {d}{th} of {name}, {y}"),
            17 => format!("{weekday}, {d} {month} {y}"),
            18 => format!("{weekday}, {month} {d}, {y}"),
            _ => format!("{weekday} the {d}{th} of {name} {y}"),
        };
        if rng.below(4) == 0 { text.to_lowercase() } else { text }
    }
}
