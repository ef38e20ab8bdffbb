//! The line at the end of the screen that is overwritten again and again.
//!
//! A progress-bar crate would draw it too, but every fresh machine would compile four more crates, and the lines for a
//! pipe would still be ours.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many columns the current line on the screen takes; 0 if there is none.
static STANDING: AtomicUsize = AtomicUsize::new(0);

/// A narrower screen shows no line.
const NARROWEST: usize = 10;

/// Draws the line over the current one. It never wraps.
pub(super) fn draw(line: &str) -> io::Result<()> {
    let width = width();
    // Room for the `^C` that the terminal echoes: if it wrapped, erasing the line would leave the first row.
    let line = cut(line, width.saturating_sub("^C".len() + 1));
    let erased = erasure(STANDING.load(Ordering::Relaxed), width);
    let line = if width < NARROWEST { String::new() } else { line };
    STANDING.store(columns(&line), Ordering::Relaxed);
    io::stderr().write_all((erased + &line).as_bytes())
}

/// Removes the line, if there is one on the screen.
pub(crate) fn erase() -> io::Result<()> {
    match STANDING.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        standing => io::stderr().write_all(erasure(standing, width()).as_bytes()),
    }
}

/// The escape sequences that remove a line of this many columns from a screen of this width. The screen may have become
/// narrower in the meantime: the line then takes more than one row.
fn erasure(standing: usize, width: usize) -> String {
    match standing {
        0 => String::new(),
        _ => "\r\x1b[2K".to_owned() + &"\x1b[A\x1b[2K".repeat((standing - 1) / width.max(1)),
    }
}

/// The current number of columns of the terminal.
pub(super) fn width() -> usize {
    let size = |width: u16| (width > 0).then_some(usize::from(width));
    let of = |stream: rustix::fd::BorrowedFd<'_>| {
        rustix::termios::tcgetwinsize(stream).ok().and_then(|window| size(window.ws_col))
    };
    of(io::stderr().as_fd()).or_else(|| of(io::stdout().as_fd())).unwrap_or(80)
}

/// How many columns a text takes on a screen; escape sequences take none.
pub(super) fn columns(text: &str) -> usize {
    let mut is_sequence = false;
    let mut columns = 0;
    for c in text.chars() {
        match c {
            '\x1b' => is_sequence = true,
            _ if is_sequence => is_sequence = !c.is_ascii_alphabetic(),
            _ => columns += columns_of(c),
        }
    }
    columns
}

fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        // East Asian scripts and pictures.
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The text in at most this many columns; `…` replaces what was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if columns(&text) <= width {
        return text;
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let fits = columns_of(*c) <= left;
        left = left.saturating_sub(columns_of(*c));
        fits
    };
    text.chars().take_while(fits).collect::<String>().trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_takes_more_columns_than_there_are() {
        assert_eq!(cut("lint 3 s", 8), "lint 3 s");
        assert_eq!(cut("lint 3 s · x", 9), "lint 3 s…");
        assert_eq!(cut("a\tb", 5), "a b");
        for width in 1..20 {
            assert!(columns(&cut("Grüße 世界 😀 e\u{301}!", width)) <= width);
        }
        assert_eq!(columns("\x1b[31;1merror\x1b[0m: 世"), 9);
    }

    #[test]
    fn a_line_that_a_narrower_screen_wrapped_is_removed_whole() {
        assert_eq!(erasure(0, 80), "");
        assert_eq!(erasure(79, 80), "\r\x1b[2K");
        assert_eq!(erasure(80, 80), "\r\x1b[2K");
        assert_eq!(erasure(79, 30), "\r\x1b[2K\x1b[A\x1b[2K\x1b[A\x1b[2K");
    }
}
