//! Text in columns, 80 of them.

/// Columns as wide as their longest cell, two spaces apart.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    rows.iter().fold(String::new(), |text, row| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text + cells.join("  ").trim_end() + "\n"
    })
}

/// Wraps words at 80 columns after a heading; further lines start at the column `hang`. A word that fits no line is left
/// whole.
pub(crate) fn folded(heading: &str, hang: usize, words: &str) -> String {
    let mut text = heading.trim_end().to_owned();
    let mut column = text.chars().count();
    let mut start = heading.chars().count();
    for word in words.split(' ') {
        let length = word.chars().count();
        if column + 1 + length > 80 && column > start {
            text.push('\n');
            (column, start) = (0, hang);
        }
        let gap = start.saturating_sub(column).max(usize::from(column > 0 && column >= start));
        text.extend([&" ".repeat(gap), word]);
        column += gap + length;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_below_their_first_line() {
        let words = "one two three ".repeat(8);
        let text = folded("  name    ", 10, words.trim_end());
        assert!(text.starts_with("  name    one two three one"), "{text}");
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.starts_with("          ") && !line.starts_with("           ")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80) && text.lines().count() == 2, "{text}");
        assert_eq!(
            text.split_whitespace().skip(1).collect::<Vec<_>>(),
            words.split_whitespace().collect::<Vec<_>>()
        );
        let long = "x".repeat(90);
        assert_eq!(folded("  ", 4, &format!("a {long} b")), format!("  a\n    {long}\n    b\n"));
        assert_eq!(folded("  ", 4, &long), format!("  {long}\n"));
    }
}
