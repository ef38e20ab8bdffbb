//! Makes text from elsewhere safe to show: nothing in it controls a terminal.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::Sender;

use anstream::adapter::strip_str;

/// The text without escape sequences and control characters; keeps line breaks and tabs.
pub fn plain(text: &str) -> String {
    let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    without_sequences(text).chars().filter(shown).collect()
}

/// C1 control characters start a sequence too: a terminal treats U+009B as `ESC [`.
fn without_sequences(text: &str) -> String {
    if text.contains(|c: char| ('\u{80}'..='\u{9f}').contains(&c)) {
        let spelt = text.chars().flat_map(|c| match u8::try_from(c) {
            Ok(byte @ 0x80..=0x9f) => vec!['\u{1b}', char::from(byte - 0x40)],
            _ => vec![c],
        });
        return strip_str(&spelt.collect::<String>()).to_string();
    }
    strip_str(text).to_string()
}

/// What a child prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Printed {
    /// A complete line.
    Line(String),
    /// The state of a line that is overwritten, such as a progress bar.
    Bar(String),
}

/// Passes on each line of a stream as a screen would finally show it: without escape sequences, and with only the last
/// state of a progress bar.
///
/// The lines do not depend on how the stream is split when it is read. An extremely long line is cut.
pub fn send_lines(stream: impl Read + Send + 'static, lines: Sender<String>) {
    send(stream, move |printed| match printed {
        Printed::Line(line) => lines.send(line).is_ok(),
        Printed::Bar(_) => true,
    });
}

/// Like [`send_lines`], but also passes on the intermediate states of progress bars.
pub fn send_printed(stream: impl Read + Send + 'static, sender: Sender<Printed>) {
    send(stream, move |printed| sender.send(printed).is_ok());
}

fn send(stream: impl Read + Send + 'static, wanted: impl FnMut(Printed) -> bool + Send + 'static) {
    std::thread::spawn(move || each_line(stream, wanted));
}

/// Passes on what is printed until `wanted` returns false.
fn each_line(stream: impl Read, mut wanted: impl FnMut(Printed) -> bool) {
    /// More than the reporter shows of a line, so that it finds a secret that its own cut would split.
    const LONGEST: usize = 128 << 10;

    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    // A broken stream has ended.
    while let Ok(bytes) = stream.fill_buf() {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let read = end.map_or(bytes.len(), |end| end + 1);
        if read == 0 {
            break;
        }
        if line.len() + part.len() > LONGEST
            && let Some(start) = line.iter().rposition(|byte| *byte == b'\r')
        {
            // Already overwritten.
            line.drain(..start);
        }
        line.extend_from_slice(&part[..part.len().min(LONGEST - line.len())]);
        stream.consume(read);
        if end.is_some() {
            if !wanted(Printed::Line(shown(&line))) {
                return;
            }
            line.clear();
        } else if line.ends_with(b"\r") && !wanted(Printed::Bar(shown(&line))) {
            return;
        }
    }
    if !line.is_empty() {
        wanted(Printed::Line(shown(&line)));
    }
}

fn shown(line: &[u8]) -> String {
    let text = without_sequences(&String::from_utf8_lossy(line));
    let text = text.trim_end_matches('\r');
    plain(text.rsplit('\r').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Cut<'a>(&'a [u8], usize);

    impl Read for Cut<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn lines(bytes: &[u8], step: usize) -> Vec<String> {
        let mut lines = Vec::new();
        each_line(Cut(bytes, step), |printed| {
            if let Printed::Line(line) = printed {
                lines.push(line);
            }
            true
        });
        lines
    }

    #[test]
    fn lines_are_read_without_what_steers_a_terminal() {
        let printed = "\u{1b}[1mSt\u{1b}[0;31mep\u{1b}[m 1/3\u{1b}[K : FROM\r\n\
            10 %\r 50 %\r100 %\n\
            \u{1b}]0;a title\u{7}one\u{1b}]8;;https://x\u{1b}\\link\u{1b}]8;;\u{1b}\\\n\
            \u{1b}(B\u{1b}=\u{1b}7two\u{1b}8\u{1b}[?25l\u{1b}P1$r\u{1b}\\\u{9b}31mred\u{9d}0;x\u{9c}\n\
            \n\ttab\u{0}\u{8}\u{7f}\u{85}!\r\r\n\
            Grüße 😀\u{1b}[2J\n\
            tail\u{1b}[3";
        let expected = ["Step 1/3 : FROM", "100 %", "onelink", "twored", "", "\ttab!", "Grüße 😀", "tail"];
        for step in 1..printed.len() {
            assert_eq!(lines(printed.as_bytes(), step), expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn a_bar_is_read_as_it_grows() {
        let mut printed = Vec::new();
        each_line(Cut(b"10 %\r50 %\rdone\n", 5), |part| {
            printed.push(part);
            true
        });
        let bar = |text: &str| Printed::Bar(text.to_owned());
        assert_eq!(printed, [bar("10 %"), bar("50 %"), Printed::Line("done".to_owned())]);
    }

    #[test]
    fn a_line_has_an_end() {
        let printed =
            [vec![b'x'; 1 << 20], b"\nnext\n".to_vec(), b"50 %\r".repeat(1 << 16), b"100 %".to_vec()];
        let lines = lines(&printed.concat(), 10_000);
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].len(), &lines[1][..], &lines[2][..]), (128 << 10, "next", "100 %"));
    }

    #[test]
    fn text_keeps_its_lines() {
        assert_eq!(plain("a\u{1b}[31mb\r\n\tc\u{1b}]0;x"), "ab\n\tc");
    }
}
