//! Fits lines to the screen: words wrap, and continuation lines are indented below their text.

use super::live::columns;

/// Wraps each line at this width. Continuation lines start `hang` columns to the right of the line's text.
///
/// A word is never cut: an address or a digest that is too long for the screen can still be copied.
pub(super) fn wrap(text: &str, width: usize, hang: usize) -> String {
    text.split_inclusive('\n').map(|line| wrap_line(line, width, hang)).collect()
}

fn wrap_line(line: &str, width: usize, hang: usize) -> String {
    if columns(line.trim_end_matches('\n')) <= width {
        return line.to_owned();
    }
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let mut wrapped = " ".repeat(indent);
    let mut column = indent;
    let mut is_first = true;
    for word in words(text.trim_end_matches('\n')) {
        let length = columns(word);
        // A word that fits no line stays where it is.
        if !is_first && column + 1 + length > width && indent + hang + length <= width {
            column = indent + hang;
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(column));
        } else if !is_first {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
        is_first = false;
    }
    if line.ends_with('\n') { wrapped + "\n" } else { wrapped }
}

/// A command after `taken` columns of its first line. Each line that it breaks ends with a backslash, and further lines
/// start at the column `hang`, so that it can be copied into a shell.
pub(super) fn wrap_command(command: &str, width: usize, taken: usize, hang: usize) -> String {
    const BREAK: &str = " \\";

    let (mut wrapped, mut column) = (String::new(), taken);
    for word in arguments(command) {
        let length = columns(word);
        if !wrapped.is_empty() && column + 1 + length + BREAK.len() > width {
            wrapped.extend([BREAK, "\n", &" ".repeat(hang)]);
            column = hang;
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// The arguments of a command; a space between quotes separates none.
fn arguments(command: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    command.split(move |c: char| {
        is_quoted ^= c == '\'';
        c == ' ' && !is_quoted
    })
}

/// The words of a line; a number and its unit are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    const UNITS: [&str; 8] = ["B", "kB", "MB", "GB", "ms", "s", "min", "%"];

    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut end = text.find(' ').unwrap_or(text.len());
        if text[..end].ends_with(|c: char| c.is_ascii_digit())
            && let Some(next) = text[end..].strip_prefix(' ')
        {
            let unit = next.split(' ').next().unwrap_or_default();
            if UNITS.contains(&unit.trim_end_matches(|c: char| ",;:.)".contains(c))) {
                end += 1 + unit.len();
            }
        }
        rest = text[end..].strip_prefix(' ');
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_command_can_be_copied() {
        let command = "cargo test -p app -- --exact a::b";
        assert_eq!(wrap_command(command, 80, 9, 4), command);
        assert_eq!(wrap_command(command, 24, 9, 4), "cargo test -p \\\n    app -- --exact \\\n    a::b");
        let quoted = "cargo nextest run -E 'binary_id(=app) & test(=a)'";
        assert_eq!(
            wrap_command(quoted, 30, 9, 4),
            "cargo nextest run \\\n    -E \\\n    'binary_id(=app) & test(=a)'"
        );
    }

    #[test]
    fn words_wrap_under_their_text() {
        assert_eq!(wrap("    one two\n", 20, 2), "    one two\n");
        assert_eq!(wrap("    one two three\n", 12, 2), "    one two\n      three\n");
        assert_eq!(wrap("ab cd\nef gh", 4, 0), "ab\ncd\nef\ngh");
        assert_eq!(wrap("see https://example.com/long now", 10, 2), "see https://example.com/long\n  now");
        assert_eq!(wrap("\x1b[1mone two\x1b[0m", 7, 0), "\x1b[1mone two\x1b[0m");
        assert_eq!(wrap("a   b", 5, 0), "a   b");
        assert_eq!(wrap("layers, 638.1 kB", 14, 2), "layers,\n  638.1 kB");
        assert_eq!(wrap("it took 2 min 5 s, all told", 15, 2), "it took 2 min\n  5 s, all told");
    }
}
