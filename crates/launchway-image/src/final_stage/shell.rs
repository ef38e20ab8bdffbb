//! Parses a `RUN` like `/bin/sh`, if it is only a list of commands.

use std::iter::Peekable;
use std::str::Chars;

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// How many lines after the first it starts.
    pub(super) below: usize,
    /// Its words, with their quotes and variables.
    pub(super) words: Vec<String>,
    /// Why it needs a shell.
    pub(super) needs: Option<String>,
}

/// The commands, separated by `&&`, `;` and line ends. A line that ends in `escape` continues on the next.
pub(super) fn lines(text: &str, escape: char) -> Vec<Line> {
    let mut reader =
        Reader { rest: text.chars().peekable(), line: 0, lines: Vec::new(), open: None, word: None };
    while let Some(c) = reader.next() {
        match c {
            c if c == escape && reader.ends_line() => reader.skip_comments(),
            '\\' => {
                reader.push('\\');
                if let Some(c) = reader.next() {
                    reader.push(c);
                }
            }
            '\'' | '"' => reader.quoted(c),
            '\n' | ';' => reader.end_command(),
            '&' if reader.rest.peek() == Some(&'&') => {
                reader.next();
                reader.end_command();
            }
            '$' => reader.variable(),
            '#' if reader.word.is_none() => reader.refuse('#'),
            '|' | '&' | '<' | '>' | '(' | ')' | '{' | '}' | '*' | '?' | '[' | ']' | '~' | '!' | '`' => {
                reader.refuse(c);
            }
            c if c.is_whitespace() => reader.end_word(),
            c => reader.push(c),
        }
    }
    reader.end_command();
    reader.lines
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    lines: Vec<Line>,
    open: Option<Line>,
    word: Option<String>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn open(&mut self) -> &mut Line {
        let below = self.line;
        self.open.get_or_insert(Line { below, words: Vec::new(), needs: None })
    }

    fn push(&mut self, c: char) {
        self.open();
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            self.open().words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.lines.extend(self.open.take());
    }

    fn refuse(&mut self, c: char) {
        self.push(c);
        self.open().needs.get_or_insert(format!("`{c}`"));
    }

    /// Whether only spaces follow on the line; if so, the line is finished.
    fn ends_line(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        let blank = ahead.by_ref().take_while(|c| *c != '\n').all(char::is_whitespace);
        if blank {
            while self.next().is_some_and(|c| c != '\n') {}
        }
        blank
    }

    /// Dockerfile reference, "Format": comments and empty lines between continued lines are removed.
    fn skip_comments(&mut self) {
        loop {
            let mut ahead = self.rest.clone();
            let first = ahead.find(|c| *c == '\n' || !c.is_whitespace());
            if !matches!(first, Some('#' | '\n')) {
                return;
            }
            while self.next().is_some_and(|c| c != '\n') {}
        }
    }

    fn quoted(&mut self, quote: char) {
        self.push(quote);
        while let Some(c) = self.next() {
            match c {
                '\\' if quote == '"' => {
                    self.push('\\');
                    if let Some(c) = self.next() {
                        self.push(c);
                    }
                }
                '$' if quote == '"' => self.variable(),
                '`' if quote == '"' => self.refuse('`'),
                c => {
                    self.push(c);
                    if c == quote {
                        return;
                    }
                }
            }
        }
        self.refuse(quote);
    }

    /// `$NAME` and `${NAME}`; anything else after a `$` needs a shell.
    fn variable(&mut self) {
        self.push('$');
        match self.rest.peek() {
            Some('{') => {
                while let Some(c) = self.next() {
                    self.push(c);
                    if c == '}' {
                        return;
                    }
                }
            }
            Some(c) if c.is_ascii_alphabetic() || *c == '_' => {}
            _ => self.open().needs = Some("`$`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(usize, String, bool)> {
        lines(text, '\\')
            .into_iter()
            .map(|line| (line.below, line.words.join("|"), line.needs.is_some()))
            .collect()
    }

    #[test]
    fn commands_are_separated_and_keep_their_lines() {
        let text = "mkdir -p /a \\\n  # a comment\n\n  '/b c' && chown x \"$Y\" /a;\\\n true";
        assert_eq!(
            of(text),
            [
                (0, "mkdir|-p|/a|'/b c'".to_owned(), false),
                (3, "chown|x|\"$Y\"|/a".to_owned(), false),
                (4, "true".to_owned(), false),
            ]
        );
        assert_eq!(
            of("a\nb\\ c ${D:-e}"),
            [(0, "a".to_owned(), false), (1, "b\\ c|${D:-e}".to_owned(), false)]
        );
        assert!(of(" \\\n").is_empty());
    }

    #[test]
    fn what_only_a_shell_understands_is_named() {
        for (text, needed) in [
            ("a | b", "`|`"),
            ("a || true", "`|`"),
            ("a > /b", "`>`"),
            ("a $(b)", "`$`"),
            ("a \"`b`\"", "```"),
            ("rm -rf /x/*", "`*`"),
            ("mkdir {a,b}", "`{`"),
            ("a 'b", "`'`"),
            ("a & b", "`&`"),
        ] {
            let lines = lines(text, '\\');
            assert_eq!(lines[0].needs.as_deref(), Some(needed), "{text}: {lines:?}");
        }
    }
}
