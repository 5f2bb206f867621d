//! Smooth curves through points, as polylines.

/// A point or a vector of the plane, `[x, y]`.
pub type Point = [f32; 2];

/// Pieces that the curve between two neighbouring points is cut into.
const PIECES: usize = 6;

/// The point whose coordinates are `coordinate(0)` and `coordinate(1)`.
pub fn by_axis(coordinate: impl FnMut(usize) -> f32) -> Point {
    [0, 1].map(coordinate)
}

/// Adds a smooth curve through `points` to `curve`, which ends in the first of them.
///
/// It is the centripetal Catmull-Rom spline: from point to point the pen takes the square root of their distance, which
/// keeps it from overshooting or looping where distances are uneven. Yuksel, Schaefer, Keyser, "Parameterization and
/// applications of Catmull-Rom curves", 2011.
pub fn smooth(points: &[Point], curve: &mut Vec<Point>) {
    let time = |from: Point, to: Point| {
        let square = (to[0] - from[0]).powi(2) + (to[1] - from[1]).powi(2);
        square.sqrt().sqrt().max(1e-3)
    };
    let times: Vec<f32> = points.windows(2).map(|pair| time(pair[0], pair[1])).collect();
    let velocities: Vec<Point> = (0..points.len()).map(|at| velocity(points, &times, at)).collect();
    for (i, &time) in times.iter().enumerate() {
        let (from, to) = (points[i], points[i + 1]);
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            let s = 1.0 - t;
            // Hermite's cubic, from both ends and the velocities there.
            curve.push(by_axis(|axis| {
                s * s * ((1.0 + 2.0 * t) * from[axis] + t * time * velocities[i][axis])
                    + t * t * ((1.0 + 2.0 * s) * to[axis] - s * time * velocities[i + 1][axis])
            }));
        }
    }
}

/// The pen's velocity at point `at`, when it takes `times[i]` from point `i` to point `i + 1`.
fn velocity(points: &[Point], times: &[f32], at: usize) -> Point {
    let last = times.len();
    let mean = |from: usize, to: usize| {
        let time: f32 = times[from..to].iter().sum();
        by_axis(|axis| (points[to][axis] - points[from][axis]) / time)
    };
    // On the parabola through the point and its two neighbours.
    let inner = |at: usize| {
        let (before, after, both) = (mean(at - 1, at), mean(at, at + 1), mean(at - 1, at + 1));
        by_axis(|axis| before[axis] + after[axis] - both[axis])
    };
    // At an end, such that the span is a parabola with the inner velocity at its other side.
    let end = |inner: Point, mean: Point| by_axis(|axis| 2.0 * mean[axis] - inner[axis]);
    match at {
        _ if last == 0 => [0.0; 2],
        _ if last == 1 => mean(0, 1),
        0 => end(inner(1), mean(0, 1)),
        _ if at == last => end(inner(last - 1), mean(last - 1, last)),
        _ => inner(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[Point]) -> Vec<Point> {
        let mut curve = vec![points[0]];
        smooth(points, &mut curve);
        curve
    }

    #[test]
    fn a_curve_passes_its_points_in_order() {
        let points = [[0.0, 0.0], [1.0, 0.5], [1.5, 2.0], [0.2, 2.2], [0.1, 1.9]];
        let curve = curve(&points);
        assert_eq!(curve.len(), 4 * PIECES + 1);
        for (i, point) in points.iter().enumerate() {
            let passed = curve[i * PIECES];
            assert!((0..2).all(|axis| (passed[axis] - point[axis]).abs() < 1e-6), "{passed:?} for {point:?}");
        }
    }

    #[test]
    fn points_on_a_line_give_a_line_and_a_lone_point_gives_nothing() {
        for points in [vec![[0.0, 0.0], [1.0, 2.0]], vec![[0.0, 0.0], [0.1, 0.2], [1.0, 2.0], [1.5, 3.0]]] {
            let curve = curve(&points);
            assert!(curve.iter().all(|p| (2.0 * p[0] - p[1]).abs() < 1e-5), "{curve:?}");
            assert!(curve.windows(2).all(|pair| pair[0][0] < pair[1][0]), "{curve:?}");
        }
        assert_eq!(curve(&[[3.0, 4.0]]), [[3.0, 4.0]]);
    }

    #[test]
    fn a_curve_has_no_corner_at_its_inner_points() {
        // The direction changes by at most a few degrees a piece; at a corner it would change by 60 and more at once.
        let points: Vec<Point> =
            (0..6).map(|i| [(i as f32 * 60f32.to_radians()).cos(), (i as f32 * 60f32.to_radians()).sin()]).collect();
        for triple in curve(&points).windows(3) {
            let [a, b] =
                [[triple[0], triple[1]], [triple[1], triple[2]]].map(|[p, q]| (q[1] - p[1]).atan2(q[0] - p[0]));
            let turn = (b - a).to_degrees().rem_euclid(360.0);
            assert!(turn < 20.0, "{turn}");
        }
    }
}
