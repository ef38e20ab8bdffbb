//! Charts as inline SVG: geometry here, colours in the style sheet, text in HTML.
//!
//! The SVG stretches to the available width, so it contains nothing that must keep its shape: text is outside it, and
//! strokes do not scale. Beneath every chart is the same data as a table, for readers who do not see the picture.

use askama::Template;

use super::format::count;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// The share of its slot that a column fills.
const FILL: f64 = 0.66;
/// The widest slot: few columns are centred in theirs instead of filling the picture.
const WIDEST: f64 = 60.0;

/// A chart with its text.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    /// Unique on the page.
    pub(super) id: &'static str,
    /// Its title.
    pub(super) title: &'static str,
    /// A description in a sentence or two.
    pub(super) summary: String,
    /// Labels of the vertical axis: top, middle, bottom.
    pub(super) y: [String; 3],
    /// Labels of the horizontal axis, from left to right.
    pub(super) x: Vec<String>,
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Line>,
    pub(super) keys: Vec<Key>,
    pub(super) table: Table,
}

/// One segment of a column.
#[derive(Debug)]
pub(super) struct Bar {
    class: &'static str,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    /// The tooltip.
    label: String,
}

/// A stroke.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) path: String,
}

/// A legend entry.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// The data of a chart as a table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    /// The first cell is the header of its row.
    pub(super) rows: Vec<Vec<String>>,
}

/// One column, from the bottom up.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) label: String,
    /// CSS class and height, in the unit of the axis.
    pub(super) parts: Vec<(&'static str, f64)>,
}

/// Stacked columns from the left; `top` is the value at full height.
pub(super) fn columns(columns: &[Column], top: f64) -> Vec<Bar> {
    let slot = WIDTH / count(columns.len().max(1));
    let width = slot.min(WIDEST) * FILL;
    let mut bars = Vec::new();
    for (index, Column { label, parts }) in columns.iter().enumerate() {
        let x = slot * (count(index) + 0.5) - width / 2.0;
        let mut bottom = HEIGHT;
        for &(class, value) in parts.iter().filter(|(_, value)| *value > 0.0) {
            let height = value / top * HEIGHT;
            bottom -= height;
            bars.push(Bar {
                class,
                x: round(x),
                y: round(bottom),
                width: round(width),
                height: round(height),
                label: label.clone(),
            });
        }
    }
    bars
}

/// The position of a value on the horizontal axis; the middle if the axis has a single value.
pub(super) fn across(value: f64, first: f64, last: f64) -> f64 {
    if last > first { (value - first) / (last - first) * WIDTH } else { WIDTH / 2.0 }
}

/// The position of a value on the vertical axis.
pub(super) fn down(value: f64, bottom: f64, top: f64) -> f64 {
    HEIGHT - (value - bottom) / (top - bottom) * HEIGHT
}

/// A line through points.
pub(super) fn polyline(points: &[(f64, f64)]) -> String {
    let commands = points.iter().map(|(x, y)| format!("{} {}", round(*x), round(*y)));
    format!("M{}", commands.collect::<Vec<_>>().join("L"))
}

/// The area between a line and the bottom.
pub(super) fn area(points: &[(f64, f64)]) -> String {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return String::new() };
    format!("{}V{HEIGHT}H{}Z", polyline(&[points, &[(*last, HEIGHT)]].concat()), round(*first))
}

/// A dot at each point. A stroke of zero length with round caps stays round when the picture stretches.
pub(super) fn dots(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("M{} {}h0", round(*x), round(*y))).collect::<Vec<_>>().concat()
}

/// A step line: each value holds until the next.
pub(super) fn steps(points: &[(f64, f64)]) -> String {
    let Some(&(_, first)) = points.first() else { return String::new() };
    let turns = points.iter().skip(1).map(|(x, y)| format!("H{}V{}", round(*x), round(*y)));
    format!("M0 {}{}H{WIDTH}", round(first), turns.collect::<Vec<_>>().concat())
}

/// Rounds to hundredths: more is invisible and costs bytes.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_stacked_from_the_bottom() {
        let column = |parts| Column { label: "a & b".to_owned(), parts };
        let bars = columns(&[column(vec![("p0", 1.0), ("p1", 0.0), ("p2", 3.0)]), column(vec![])], 4.0);
        let places: Vec<_> =
            bars.iter().map(|bar| (bar.class, bar.x, bar.y, bar.width, bar.height)).collect();
        assert_eq!(places, [("p0", 230.2, 75.0, 39.6, 25.0), ("p2", 230.2, 0.0, 39.6, 75.0)]);
        assert!(columns(&[], 1.0).is_empty());
    }

    #[test]
    fn lines_are_paths() {
        let points = [(0.0, 10.0), (500.0, 20.005), (1000.0, 30.0)];
        assert_eq!(polyline(&points), "M0 10L500 20.01L1000 30");
        assert_eq!(area(&points), "M0 10L500 20.01L1000 30L1000 100V100H0Z");
        assert_eq!(dots(&points[..1]), "M0 10h0");
        assert_eq!(steps(&points), "M0 10H500V20.01H1000V30H1000");
        assert_eq!((area(&[]), steps(&[])), (String::new(), String::new()));
    }

    #[test]
    fn a_single_value_is_centred() {
        assert!((across(5.0, 5.0, 5.0) - 500.0).abs() < f64::EPSILON);
        assert!((across(5.0, 0.0, 20.0) - 250.0).abs() < f64::EPSILON);
        assert!((down(80.0, 60.0, 100.0) - 50.0).abs() < f64::EPSILON);
    }
}
