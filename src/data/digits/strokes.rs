//! How each digit is written: the pen's path in several styles of handwriting, designed by hand.

/// A point that the pen passes, in hundredths of the digit's height: `[x, y]` from the top left corner, `y` downwards.
pub type Mark = [u8; 2];

/// A curve from pen down to pen up, through its marks in order. A mark given twice is a corner.
pub type Stroke = &'static [Mark];

/// One way to write a digit.
pub struct Style {
    /// How often it is chosen, relative to the digit's other styles.
    pub weight: f32,
    /// The strokes, in the order of the hand.
    pub strokes: &'static [Stroke],
}

/// The styles of the digits 0 to 9.
pub static DIGITS: [&[Style]; 10] = [ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE];

/// The styles of a digit, each as `weight: marks;`, with `/` where the pen is lifted.
macro_rules! digit {
    ($name:ident $($weight:literal: $($($x:literal $y:literal),+)/+;)+) => {
        const $name: &[Style] = &[$(Style { weight: $weight, strokes: &[$(&[$([$x, $y]),+]),+] }),+];
    };
}

digit! { ZERO
    // An oval from the top, anticlockwise.
    4.0: 36 0, 11 15, 0 50, 11 86, 35 100, 59 86, 70 50, 59 14, 33 0;
    // From the upper right, the end passing over the start.
    2.0: 55 8, 30 0, 6 25, 2 65, 25 98, 55 88, 70 50, 60 15, 38 2, 20 10;
    // Pointed at the top right.
    2.0: 60 0, 28 20, 3 60, 10 95, 38 90, 65 45, 62 10, 50 0;
    // The end curls into the oval.
    1.0: 45 8, 15 12, 0 50, 15 92, 40 100, 65 80, 70 40, 52 6, 34 6, 36 26;
    // Left open at the top.
    0.7: 25 4, 4 30, 4 70, 30 100, 60 85, 70 45, 62 10;
    // Wide.
    0.7: 50 10, 15 20, 0 50, 20 78, 50 82, 80 62, 85 30, 60 10, 35 12;
    // Begun inside.
    0.7: 42 30, 36 6, 10 14, 0 50, 12 88, 38 100, 64 80, 70 40, 54 8, 30 4;
    // Ended inside, far down.
    0.5: 40 2, 12 12, 0 50, 12 88, 38 100, 62 80, 68 40, 50 6, 30 10, 28 40, 34 60;
}

digit! { ONE
    // A line.
    8.0: 30 0, 30 50, 30 100;
    // A flag.
    1.0: 10 20, 32 0, 32 0, 32 50, 32 100;
    // A flag and a foot.
    1.0: 10 20, 34 0, 34 0, 34 50, 34 100 / 5 100, 35 99, 66 100;
    // A long flag and a wide foot.
    0.7: 2 30, 20 16, 42 0, 42 0, 40 50, 38 100 / 0 100, 40 100, 80 98;
}

digit! { TWO
    // An arch and a flat base.
    2.0: 5 20, 30 0, 60 12, 58 38, 30 72, 0 100, 0 100, 35 97, 72 100;
    // A loop at the base.
    3.0: 5 20, 30 0, 58 12, 55 40, 35 75, 12 97, 0 88, 12 77, 35 87, 55 100, 78 92;
    // Like a Z.
    1.5: 2 12, 30 3, 60 5, 55 25, 30 60, 0 97, 0 97, 40 96, 75 93;
    // A curl at the start, a wave at the base.
    1.0: 18 30, 5 18, 25 0, 55 8, 58 35, 35 68, 3 97, 3 97, 25 86, 50 96, 75 90;
    // Low and wide.
    1.0: 10 15, 35 0, 60 12, 50 40, 25 65, 0 84, 0 84, 40 80, 105 80;
    // A small head, the base below it slanting down.
    1.0: 12 12, 30 0, 44 12, 38 40, 20 70, 5 90, 5 90, 20 84, 40 93, 60 100;
    // A roomy loop, the tail long and straight.
    2.5: 0 28, 20 4, 50 5, 54 30, 38 62, 16 88, 0 86, 6 68, 28 68, 55 82, 88 92;
    // A round head, the loop large, the tail falling.
    2.0: 10 32, 12 9, 42 0, 60 20, 50 58, 26 90, 6 94, 2 76, 22 66, 45 78, 70 100;
    // The stem to the far left, then a straight tail back over it.
    1.0: 4 18, 28 0, 52 14, 46 44, 24 78, 4 98, 4 98, 14 78, 36 82, 62 100;
    // A short base.
    1.0: 2 18, 25 0, 48 14, 42 46, 22 76, 2 100, 2 100, 20 95, 42 97;
    // A leaning stem, the base rising.
    0.7: 8 12, 38 0, 62 12, 50 40, 25 70, 0 95, 0 95, 35 88, 70 82;
    // Round on the right, a flat loop at the lower left, crossed by the tail.
    2.5: 4 28, 14 6, 40 0, 60 20, 58 58, 38 90, 12 97, 0 82, 14 66, 40 72, 62 88, 84 100;
    // The same, slanting, the tail short.
    1.5: 20 20, 34 3, 58 2, 66 24, 54 60, 30 88, 6 90, 2 72, 26 66, 50 76, 70 80;
    // A head drawn in to a hook, the loop low and flat.
    1.5: 16 38, 4 24, 20 3, 46 3, 56 30, 44 68, 20 92, 0 90, 8 76, 36 76, 62 86, 90 84;
    // A bent stem in place of the head.
    0.7: 20 12, 36 0, 42 20, 36 60, 20 88, 2 98, 2 98, 30 94, 62 96;
    // No loop, the tail falling to the right.
    1.5: 5 22, 28 0, 58 8, 50 38, 25 64, 0 82, 0 82, 30 70, 60 78, 95 100;
    // Wide, the loop long and flat.
    1.5: 10 24, 28 4, 60 2, 72 20, 60 52, 32 80, 6 84, 0 70, 24 60, 55 70, 95 92;
    // A small flat head, the base wide.
    1.0: 5 10, 30 0, 50 10, 40 36, 20 62, 2 85, 2 85, 30 76, 65 80, 90 86;
}

digit! { THREE
    // Two bows with a corner between.
    3.0: 5 13, 30 0, 57 15, 47 38, 22 47, 22 47, 53 54, 64 77, 40 99, 0 90;
    // A small loop between the bows.
    1.0: 5 13, 32 0, 56 15, 46 37, 25 50, 20 44, 32 44, 57 57, 60 82, 35 100, 0 90;
    // A flat top.
    1.0: 2 4, 30 2, 60 2, 60 2, 28 40, 28 40, 55 50, 64 78, 35 100, 0 90;
    // Shallow bows.
    1.5: 5 8, 35 0, 52 17, 36 43, 36 43, 54 60, 48 85, 25 98, 2 97;
    // A small upper bow over a wide lower one that runs out to the left.
    1.5: 18 10, 35 0, 55 10, 50 28, 30 40, 30 40, 58 48, 68 70, 45 95, 15 98, 0 85;
    // A large upper bow, the lower one open.
    1.0: 2 12, 30 0, 60 10, 55 36, 25 52, 25 52, 52 55, 58 75, 45 98;
    // Without a corner, the curve only leaning in at the middle.
    1.0: 2 8, 35 0, 55 14, 45 34, 36 46, 48 58, 58 76, 35 98, 0 92;
    // A curl at the start.
    0.7: 14 22, 5 12, 30 0, 55 14, 46 36, 22 46, 22 46, 55 54, 62 80, 38 100, 10 96, 4 82;
    // A long run out at the lower left.
    0.7: 20 6, 42 0, 60 14, 50 34, 32 42, 32 42, 60 50, 66 74, 40 94, 0 100;
}

digit! { FOUR
    // Open, the left part round.
    2.0: 12 3, 2 30, 6 50, 30 53, 65 46 / 58 0, 52 45, 46 100;
    // Open, the left part angular.
    2.0: 15 0, 0 52, 0 52, 35 53, 72 48 / 54 5, 50 50, 46 100;
    // Closed at the top.
    1.0: 50 0, 25 30, 0 62, 0 62, 40 63, 75 60 / 50 0, 48 50, 46 100;
    // In one stroke without a crossing.
    1.0: 12 2, 2 33, 16 50, 40 42, 58 5, 58 5, 50 50, 45 100;
    // A long first stroke crossed by a short one.
    2.0: 38 0, 20 28, 0 60, 0 60, 35 58, 75 52 / 55 25, 45 60, 36 100;
    // Open and wide, the bar low.
    1.0: 10 0, 3 35, 0 58, 20 64, 75 60 / 68 2, 64 50, 62 100;
    // Like a U with a stem.
    1.0: 5 5, 0 30, 10 46, 35 45, 60 36 / 66 0, 55 50, 50 100;
    // Closed and narrow, the bar short.
    1.0: 42 2, 20 24, 2 50, 2 50, 28 50, 56 46 / 44 0, 43 50, 40 100;
}

digit! { FIVE
    // In one stroke.
    2.0: 65 0, 20 3, 20 3, 12 42, 12 42, 45 42, 60 67, 40 96, 0 92;
    // The top put on last.
    2.0: 20 6, 12 43, 12 43, 43 42, 58 67, 38 96, 0 92 / 20 6, 45 4, 75 0;
    // Like an S.
    1.5: 62 2, 30 4, 14 20, 20 40, 47 54, 57 78, 33 99, 0 90;
    // A long top and a small bow.
    2.0: 95 0, 60 6, 32 10, 32 10, 20 42, 20 42, 45 50, 48 75, 25 97, 0 92;
    // The bow curled up at its end.
    1.5: 60 2, 15 5, 15 5, 12 45, 12 45, 40 38, 60 60, 50 92, 20 100, 2 82;
    // An upright stem and a large round bow, the top put on last.
    1.5: 12 10, 10 48, 10 48, 38 42, 58 66, 42 95, 15 100, 0 88 / 10 8, 35 6, 62 2;
    // The stem short, the bow drawn far down.
    1.0: 60 0, 10 6, 10 6, 8 32, 8 32, 40 32, 55 55, 42 85, 15 100;
    // The bow nearly closed.
    1.0: 62 3, 20 4, 20 4, 14 42, 14 42, 42 44, 52 68, 36 94, 14 94, 8 74;
    // A short top, the bow large and run out to the left.
    1.5: 55 4, 20 0, 20 0, 14 34, 14 34, 42 32, 62 58, 48 90, 20 100, 0 84;
    // The stem leaning, the bow wide.
    1.0: 70 5, 28 3, 28 3, 10 36, 10 36, 45 36, 66 58, 50 90, 10 97;
    // Stem and bow in one curve, the top put on last.
    0.7: 16 8, 10 30, 20 42, 46 50, 52 75, 30 98, 0 92 / 16 8, 40 6, 66 0;
}

digit! { SIX
    // A curved stem and a loop.
    3.0: 50 0, 20 26, 3 65, 18 96, 48 93, 58 70, 40 56, 18 66, 8 80;
    // A straight stem.
    2.0: 30 0, 10 40, 2 80, 22 100, 52 88, 52 66, 30 60, 6 80;
    // The stem ends in a wide base, the loop comes back to it low.
    2.0: 38 0, 15 40, 0 80, 20 96, 55 88, 66 68, 48 60, 25 75, 15 95;
    // A narrow loop, as in a b.
    1.0: 25 0, 18 50, 12 95, 30 98, 45 80, 38 62, 15 75;
    // Round as a C, the end carried to the stem.
    1.0: 52 5, 30 4, 7 33, 3 72, 28 100, 56 84, 46 62, 20 64, 5 80;
    // A wide loop.
    1.0: 40 0, 12 35, 2 75, 28 98, 66 87, 66 62, 40 56, 15 72, 10 90;
    // A loop of more than half the height.
    0.5: 30 0, 8 28, 0 62, 15 95, 50 96, 64 70, 50 45, 25 47, 4 68;
    // A small loop on a long base.
    1.5: 30 0, 10 40, 4 78, 20 95, 50 95, 68 80, 56 68, 36 76, 30 95;
    // A leaning stem, the loop small.
    1.0: 62 0, 32 30, 8 72, 12 97, 36 95, 46 76, 32 66, 10 80;
    // Narrow, the loop tiny.
    1.0: 32 0, 15 40, 5 80, 14 100, 32 90, 30 72, 10 76;
    // An upright stem, the loop at its right.
    1.0: 5 0, 0 40, 4 82, 25 100, 58 92, 60 70, 40 64, 20 76, 15 96;
    // The loop crossed by its own end.
    0.7: 50 4, 20 24, 3 62, 14 95, 44 96, 58 76, 42 60, 20 66, 0 76;
}

digit! { SEVEN
    // A roof and a stem.
    3.0: 0 8, 30 6, 62 2, 62 2, 42 45, 26 100;
    // A small serif at the left.
    1.0: 2 22, 5 5, 30 6, 62 3, 62 3, 42 50, 30 100;
    // A bar across the stem.
    1.5: 0 8, 30 6, 60 2, 60 2, 42 45, 30 100 / 14 52, 40 50, 68 50;
    // A round shoulder.
    2.0: 0 12, 30 2, 57 7, 53 30, 36 63, 25 100;
    // A wave for a roof.
    1.0: 0 20, 10 2, 33 10, 60 0, 60 0, 42 45, 30 100;
    // A narrow arch.
    1.0: 0 30, 10 6, 37 0, 50 20, 47 60, 42 100;
    // A long serif.
    1.0: 5 40, 10 8, 10 8, 35 8, 62 2, 62 2, 55 45, 48 100;
    // An upright stem with a bar.
    0.5: 0 10, 30 2, 52 8, 46 40, 40 100 / 20 55, 45 50, 75 47;
    // A short roof.
    1.0: 10 16, 30 10, 46 0, 46 0, 40 50, 30 100;
    // A short bar, the roof curved.
    1.5: 5 16, 12 5, 35 8, 60 0, 60 0, 42 40, 28 100 / 25 46, 42 47, 60 45;
    // A slanted stem, the bar long and low.
    1.5: 5 5, 35 5, 68 0, 68 0, 42 40, 15 100 / 10 58, 35 55, 72 56;
    // A rising roof and a rising bar.
    1.0: 0 20, 26 12, 52 0, 52 0, 42 50, 36 100 / 10 60, 40 50, 76 42;
    // A serif, a bar.
    0.7: 8 30, 10 5, 10 5, 36 8, 64 2, 64 2, 48 45, 36 100 / 24 54, 44 50, 66 50;
}

digit! { EIGHT
    // An S and back.
    3.0: 55 12, 30 0, 10 20, 30 46, 54 74, 30 100, 6 80, 27 50, 53 27, 52 6;
    // Two rings.
    1.0: 30 46, 10 25, 30 0, 50 22, 30 46 / 30 46, 4 73, 30 100, 56 73, 30 46;
    // Open at the top right.
    1.5: 58 4, 28 2, 10 20, 28 45, 48 75, 25 100, 3 82, 25 52, 70 12;
    // From the middle.
    1.0: 32 48, 10 28, 25 2, 50 10, 45 35, 12 66, 15 96, 45 96, 55 70, 28 44;
    // A wide head left open, a tail to the upper right.
    1.5: 62 14, 35 2, 8 16, 22 40, 45 62, 35 98, 12 96, 20 66, 50 40, 80 5;
    // A large head over a small foot.
    1.0: 50 10, 22 0, 4 20, 22 45, 42 75, 30 99, 14 85, 28 55, 55 30, 52 8;
    // A small head over a large foot.
    1.0: 45 8, 30 0, 18 12, 30 32, 56 60, 50 94, 15 97, 5 70, 25 42, 45 20, 42 4;
    // Crossed straight from corner to corner.
    1.0: 12 10, 35 42, 50 80, 28 100, 10 82, 30 45, 52 14, 32 0, 10 10;
    // The head of straight lines.
    0.5: 60 5, 10 3, 10 20, 30 42, 55 72, 32 100, 8 80, 30 50, 60 5;
    // A narrow head.
    1.0: 38 10, 26 0, 16 16, 28 42, 46 72, 28 100, 6 80, 22 50, 38 25, 38 6;
    // A head of a corner and a line.
    0.5: 55 16, 32 6, 5 6, 5 6, 15 32, 42 64, 40 95, 18 98, 14 74, 40 46, 66 12;
    // A B-like eight, its left side straight.
    0.3: 10 2, 5 50, 2 98, 35 98, 60 78, 45 54, 10 48, 45 42, 60 20, 40 3, 8 4;
    // A wide head, a narrow foot.
    0.7: 60 12, 30 0, 4 18, 26 42, 42 70, 32 100, 18 84, 32 52, 62 26, 58 6;
}

digit! { NINE
    // A loop, then a straight stem.
    3.0: 52 10, 28 2, 4 24, 15 46, 42 36, 54 8, 54 8, 50 50, 42 100;
    // A tail curved to the left.
    1.0: 52 12, 28 0, 5 20, 15 44, 42 38, 54 10, 54 10, 55 55, 40 92, 8 95;
    // The loop runs on into the stem.
    2.0: 48 30, 25 46, 4 30, 20 3, 47 8, 50 42, 40 100;
    // A small flat loop and a slanting stem.
    1.0: 60 4, 25 6, 2 30, 15 42, 45 28, 60 10, 52 40, 30 100;
    // A large round head, a short stem at its right.
    1.5: 56 20, 40 2, 10 8, 2 38, 20 56, 48 40, 60 12, 60 12, 62 50, 60 100;
    // A narrow head.
    1.5: 42 8, 26 3, 12 25, 20 42, 36 28, 44 5, 44 5, 36 50, 28 100;
    // A head open at the top.
    1.0: 30 6, 6 18, 10 42, 35 42, 52 18, 54 2, 54 2, 50 50, 46 100;
    // A tail bent far to the left.
    0.7: 50 15, 30 0, 6 14, 12 40, 40 36, 54 14, 58 55, 45 92, 18 100, 2 86;
    // A head of straight sides, left open on the right.
    1.0: 50 3, 20 8, 2 34, 14 46, 40 38, 56 14, 50 50, 38 100;
    // A slanting head, the stem from its right end.
    1.5: 60 8, 40 0, 10 14, 0 40, 18 48, 48 30, 62 6, 62 6, 48 50, 36 100;
    // A small head high on a long stem.
    1.0: 42 6, 24 0, 6 12, 12 30, 34 24, 44 6, 44 6, 40 50, 34 100;
    // A head nearly as large as the whole.
    1.0: 62 20, 45 2, 15 6, 0 40, 15 70, 45 62, 66 25, 66 10, 68 50, 70 100;
    // A wide head, the stem short.
    1.0: 70 14, 45 0, 12 10, 0 38, 15 55, 48 46, 72 14, 72 14, 72 50, 70 95;
    // Two bows as in a g, the tail running far out.
    0.5: 40 4, 15 6, 8 28, 25 42, 44 28, 46 5, 50 50, 42 90, 20 100, 0 90;
    // A head that stays open, the stem turning down inside it.
    1.0: 66 5, 34 1, 6 20, 12 42, 36 38, 52 24, 48 55, 34 100;
    // A round head, the stem bent back.
    0.7: 50 10, 26 0, 4 18, 12 42, 40 40, 55 14, 55 14, 60 45, 50 75, 22 96;
    // A head closed by its own corner, flat below.
    1.0: 48 6, 20 4, 2 22, 8 42, 30 44, 52 36, 52 36, 56 0, 50 50, 42 100;
    // An angular head.
    1.0: 54 8, 24 10, 2 38, 2 38, 20 46, 48 32, 56 8, 50 50, 40 100;
}
