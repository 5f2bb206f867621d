//! Precision and recall.

/// How much of what is there was found.
#[derive(Clone, Copy, Default)]
pub struct Score {
    /// Rightly found.
    pub right: usize,
    /// Found, rightly or not.
    pub found: usize,
    /// There to be found.
    pub there: usize,
}

impl Score {
    pub fn add(&mut self, other: Score) {
        self.right += other.right;
        self.found += other.found;
        self.there += other.there;
    }

    pub fn precision(&self) -> f64 {
        self.right as f64 / self.found.max(1) as f64
    }

    pub fn recall(&self) -> f64 {
        self.right as f64 / self.there.max(1) as f64
    }

    /// The harmonic mean of the two.
    pub fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.found + self.there).max(1) as f64
    }
}

/// A row for each class with its name.
pub fn table<'a>(rows: impl IntoIterator<Item = (&'a str, Score)>) -> String {
    let mut table = format!("{:<10}{:>10}{:>8}{:>8}{:>8}\n", "", "precision", "recall", "F1", "number");
    for (name, score) in rows {
        let [precision, recall, f1] = [score.precision(), score.recall(), score.f1()].map(|x| 100.0 * x);
        table += &format!("{name:<10}{precision:>9.2}%{recall:>7.2}%{f1:>7.2}%{:>8}\n", score.there);
    }
    table
}
