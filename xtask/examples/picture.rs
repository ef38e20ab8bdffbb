//! Turns what a program printed on a terminal into an SVG picture, as the README shows it.
//!
//! `CONTRIBUTING.md` has the commands that make the pictures of the docs.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};

const CHARACTER: f32 = 8.4;
const LINE: f32 = 18.0;
const MARGIN: f32 = 14.0;

fn main() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    io::stdout().write_all(picture(&text).as_bytes())
}

fn picture(text: &str) -> String {
    let mut screen = Screen::default();
    screen.print(text);
    screen.to_svg()
}

/// How a character looks: the codes of `Select Graphic Rendition` that the pipeline prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    colour: Option<u8>,
}

impl Style {
    fn select(&mut self, codes: &str) {
        for code in codes.split(';') {
            match code.parse().unwrap_or(0) {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                colour @ 30..=37 => self.colour = Some(colour),
                39 => self.colour = None,
                _ => {}
            }
        }
    }

    fn attributes(self) -> String {
        let fill = match self.colour {
            Some(31) => "#ff7b72",
            Some(32) => "#7ee787",
            Some(33) => "#e3b341",
            Some(34) => "#79c0ff",
            Some(36) => "#76e3ea",
            _ if self.dim => "#8b949e",
            _ => "#e6edf3",
        };
        let weight = if self.bold { " font-weight=\"bold\"" } else { "" };
        format!("fill=\"{fill}\"{weight}")
    }
}

/// A terminal that keeps every line that scrolled away.
#[derive(Debug, Default)]
struct Screen {
    lines: Vec<Vec<(char, Style)>>,
    row: usize,
    column: usize,
    style: Style,
}

impl Screen {
    fn print(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '\n' => (self.row, self.column) = (self.row + 1, 0),
                '\r' => self.column = 0,
                '\x1b' => {
                    // Control sequences only; the pipeline prints no others.
                    if rest.as_str().starts_with('[') {
                        rest.next();
                        let end = rest.as_str().find(|c: char| ('@'..='~').contains(&c));
                        let (sequence, after) = rest.as_str().split_at(end.map_or(0, |end| end + 1));
                        self.control(sequence);
                        rest = after.chars();
                    }
                }
                character if character.is_control() => {}
                character => self.put(character),
            }
        }
    }

    fn control(&mut self, sequence: &str) {
        let Some(last) = sequence.chars().last() else { return };
        let codes = sequence.trim_end_matches(last);
        match last {
            'm' => self.style.select(codes),
            'A' => self.row = self.row.saturating_sub(codes.parse().unwrap_or(1)),
            'K' => {
                let column = if codes == "2" { 0 } else { self.column };
                self.line().truncate(column);
            }
            _ => {}
        }
    }

    fn line(&mut self) -> &mut Vec<(char, Style)> {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        &mut self.lines[self.row]
    }

    fn put(&mut self, character: char) {
        let (column, style) = (self.column, self.style);
        let line = self.line();
        if line.len() <= column {
            line.resize(column + 1, (' ', Style::default()));
        }
        line[column] = (character, style);
        self.column += 1;
    }

    #[expect(clippy::cast_precision_loss, reason = "a screen has some hundred lines and columns")]
    fn to_svg(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0).max(80);
        let width = columns as f32 * CHARACTER + 2.0 * MARGIN;
        let height = self.lines.len() as f32 * LINE + 2.0 * MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
             <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"14\">\n"
        );
        for (row, line) in self.lines.iter().enumerate() {
            let y = MARGIN + LINE * (row as f32 + 0.75);
            let mut column = 0;
            for run in line.chunk_by(|(_, one), (_, other)| one == other) {
                let text: String = run.iter().map(|(character, _)| character).collect();
                if !text.trim().is_empty() {
                    let x = MARGIN + CHARACTER * column as f32;
                    let length = CHARACTER * run.len() as f32;
                    let attributes = run[0].1.attributes();
                    let text = escaped(&text);
                    // Writing to a string cannot fail.
                    writeln!(
                        svg,
                        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" {attributes}>{text}</text>"
                    )
                    .ok();
                }
                column += run.len();
            }
        }
        svg + "</g>\n</svg>\n"
    }
}

fn escaped(text: &str) -> String {
    // A blank that SVG does not collapse.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_screen_becomes_a_picture() {
        let picture = super::picture("a \u{1b}[31mred\u{1b}[0m word\n");
        assert!(picture.starts_with("<svg ") && picture.contains("#ff7b72\">red</text>"), "{picture}");
    }
}
