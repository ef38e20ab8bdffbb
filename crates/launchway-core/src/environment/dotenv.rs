//! Reads `.env` where its many dialects agree, and rejects it where they do not.

use std::io::Read as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// The longest `.env`, in bytes.
const LONGEST: u64 = 1 << 20;

/// The text of a `.env`, or `None` if there is none. It may be a pipe, as created by password managers: the writer must
/// respond within `timeout`.
pub(super) fn read(path: &Path, timeout: Duration) -> Result<Option<String>> {
    let shown = path.display();
    if path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let metadata = path.metadata().with_context(|| format!("{shown} cannot be read"))?;
    ensure!(!metadata.is_dir(), "{shown} is a folder, but must be a file of `NAME=value` lines");
    let (sender, receiver) = mpsc::channel();
    let file = path.to_owned();
    // Opening a pipe waits for the other side, which may never come.
    std::thread::spawn(move || {
        let read = || {
            let mut bytes = Vec::new();
            fs_err::File::open(file)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        sender.send(read()).ok();
    });
    let Ok(read) = receiver.recv_timeout(timeout) else {
        bail!(
            "{shown} is a pipe that delivered nothing in {timeout:?}: unlock the program that writes to it, or remove it"
        );
    };
    let bytes = read?;
    ensure!(bytes.len() as u64 <= LONGEST, "{shown} is longer than {LONGEST} bytes");
    ensure!(
        !bytes.starts_with(b"\xff\xfe") && !bytes.starts_with(b"\xfe\xff"),
        "{shown} is UTF-16: save it as UTF-8"
    );
    String::from_utf8(bytes).ok().with_context(|| format!("{shown} is not UTF-8")).map(Some)
}

/// Parses lines `NAME=value`; drops comments, blank lines, a leading `export` and one pair of quotes around the value.
/// Between quotes, a value may span several lines, as PEM keys do.
///
/// Nothing is substituted: a `$` in a secret key is a dollar sign.
/// An error names the line but never quotes it, because it may contain a secret.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut values: Vec<(usize, String, String)> = Vec::new();
    let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        let Some((name, value)) = exported.unwrap_or(line).split_once('=') else {
            bail!("line {number} is not `NAME=value`");
        };
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            bail!("line {number} does not start with the name of a variable");
        }
        let mut value = value.trim().to_owned();
        if let Some(quote @ ('"' | '\'')) = value.chars().next() {
            let mut is_open = !value[1..].contains(quote);
            while is_open {
                let (_, more) =
                    lines.next().with_context(|| format!("line {number}: has no closing quote"))?;
                value.push('\n');
                value.push_str(more.trim_end());
                is_open = !more.contains(quote);
            }
        }
        let value = unquoted(&value).with_context(|| format!("line {number}"))?;
        match values.iter().find(|(_, known, _)| known == name) {
            Some((_, _, known)) if known == value => {}
            Some((first, ..)) => {
                bail!("line {number} sets `{name}` again, but differently from line {first}")
            }
            None => values.push((number, name.to_owned(), value.to_owned())),
        }
    }
    let kept = values.into_iter().filter(|(_, _, value)| !value.is_empty());
    Ok(kept.map(|(_, name, value)| (name, value)).collect())
}

/// A value without its quotes and without the comment after it, which starts with a `#` after a space.
fn unquoted(value: &str) -> Result<&str> {
    let Some(quote @ ('"' | '\'')) = value.chars().next() else {
        let comment = value.match_indices('#').find(|(place, _)| value[..*place].ends_with([' ', '\t']));
        return Ok(match comment {
            _ if value.starts_with('#') => "",
            Some((place, _)) => value[..place].trim_end(),
            None => value,
        });
    };
    let (value, rest) = value[1..].split_once(quote).context("has no closing quote")?;
    let rest = rest.trim_start();
    ensure!(rest.is_empty() || rest.starts_with('#'), "continues after the closing quote");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE_TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn reads_a_file_of_variables() {
        for (line, expected) in [
            ("A=1", "1"),
            ("export A = 'x $HOME y'", "x $HOME y"),
            ("export\tA=1", "1"),
            ("A=\"a=b\"", "a=b"),
            ("A=1\r", "1"),
            ("\u{feff}A=1", "1"),
            ("A=1 # a comment", "1"),
            ("A=1\t#", "1"),
            ("A=a#b", "a#b"),
            ("A='a # b' # c", "a # b"),
            ("A=\"it's\"", "it's"),
            ("A=a\"b", "a\"b"),
            ("A=\"-----BEGIN\r\n  b=\r\n#END-----\" # mine", "-----BEGIN\n  b=\n#END-----"),
            ("A=1\nA='1'", "1"),
        ] {
            let text = format!("{line}\n# comment\n\nnpm.user-agent=\nD=\nE= # nothing\n");
            assert_eq!(parse(&text).unwrap(), [("A".to_owned(), expected.to_owned())], "of `{line}`");
        }
    }

    #[test]
    fn an_error_names_the_line_and_not_its_text() {
        for (text, words) in [
            ("A=1\nhunter2", "line 2 is not `NAME=value`"),
            ("A=1\nhunter 2=x", "line 2 does not start"),
            ("A=1\nB=\"hunter2", "line 2: has no closing quote"),
            ("A=1\nB='hunter2'x", "line 2: continues after the closing quote"),
            ("A=1\nB=\"hunter2\nC=\"hunter3\"", "line 2: continues after the closing quote"),
            ("A=1\nB='hunter2\n\nC=3\nD=4\n", "line 2: has no closing quote"),
            ("A=1\nB=\"hunter\\\"2\"", "line 2: continues after the closing quote"),
            ("A=1\nB=2\nA=hunter2", "line 3 sets `A` again, but differently from line 1"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words) && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn whatever_stands_there_is_read_or_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        assert_eq!(read(&path, PIPE_TIMEOUT).unwrap(), None);
        let error = |timeout| format!("{:#}", read(&path, timeout).unwrap_err());

        fs_err::create_dir(&path).unwrap();
        assert!(error(PIPE_TIMEOUT).contains("is a folder"));
        fs_err::remove_dir(&path).unwrap();

        fs_err::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(error(PIPE_TIMEOUT).contains("cannot be read"));
        fs_err::remove_file(&path).unwrap();

        for (bytes, words) in [
            (&b"\xff\xfeA\0"[..], "UTF-16"),
            (b"A=\xe4", "not UTF-8"),
            (&vec![b' '; (1 << 20) + 1], "longer"),
        ] {
            fs_err::write(&path, bytes).unwrap();
            assert!(error(PIPE_TIMEOUT).contains(words), "{}", error(PIPE_TIMEOUT));
        }
        fs_err::remove_file(&path).unwrap();

        crate::command::Call::new("mkfifo").args([".env", "written"]).read(dir.path()).unwrap();
        assert!(error(Duration::from_millis(50)).contains("is a pipe that delivered nothing"));
        // A new pipe: the reader that timed out still waits at the first one.
        let written = dir.path().join("written");
        let writer = written.clone();
        std::thread::spawn(move || fs_err::write(writer, "A=1\n"));
        assert_eq!(read(&written, PIPE_TIMEOUT).unwrap().unwrap(), "A=1\n");
    }
}
