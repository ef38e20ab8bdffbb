//! How long tests took, from a `JUnit` file.

use std::io::Read as _;
use std::path::Path;

use launchway_core::events::review::TestTime;

/// Far more than a workspace's tests print, in bytes.
const LONGEST: u64 = 256 << 20;

/// The time of each test in the file; none where there is no such file.
pub(super) fn times(path: &Path) -> Vec<TestTime> {
    let mut text = String::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    text.split("<testcase ").skip(1).filter_map(|rest| time(rest.split('>').next()?)).collect()
}

/// Reads the attributes of a `testcase`; a `>` in them is written `&gt;`.
fn time(attributes: &str) -> Option<TestTime> {
    let attributes = format!(" {attributes}");
    let attribute = |name: &str| -> Option<String> {
        let (_, rest) = attributes.split_once(&format!(" {name}=\""))?;
        Some(unescaped(rest.split_once('"')?.0))
    };
    let seconds: f64 = attribute("time")?.parse().ok()?;
    let (name, program) = (attribute("name")?, attribute("classname"));
    let milliseconds = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    Some(TestTime {
        test: program.map_or_else(|| name.clone(), |program| format!("{program} {name}")),
        milliseconds: launchway_core::events::milliseconds(milliseconds),
    })
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_each_test_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("junit.xml");
        assert_eq!(times(&path), Vec::new());
        let text = r#"<testsuites><testsuite name="app">
            <testcase name="a::b" classname="app" timestamp="2026-01-01T00:00:00" time="1.2345"/>
            <testcase classname="app::it" name="&lt;c&gt; &amp;lt;" time="0.010">
                <failure>time="9" name="not a test"</failure>
            </testcase>
            <testcase name="without a time"/><testcase name="odd" time="soon"/>
        </testsuite></testsuites>"#;
        fs_err::write(&path, text).unwrap();
        let expected = [("app a::b", 1234), ("app::it <c> &lt;", 10)];
        let expected = expected.map(|(test, milliseconds)| TestTime { test: test.to_owned(), milliseconds });
        assert_eq!(times(&path), expected);
    }
}
