//! The page of a job: Markdown for a reviewer, rendered from the facts of the run.

use std::fmt::Write as _;

use super::super::review::{
    ChangeKind, CoverageChange, CoveredLines, ImageSize, PageLink, ServiceChanges, TestTime,
};
use super::super::terminal::seconds;
use super::super::{Failed, Outcome, Release, Row, Summary};
use crate::size;

/// GitHub drops a page over 1 MiB as a whole.
const LONGEST: usize = 1_000_000;
/// How many places of a failure are listed; the log has the rest.
const MOST_PLACES: usize = 20;
/// How many characters of a text are shown.
const LONGEST_TEXT: usize = 400;
/// How many lines of a failure are shown.
const MOST_LINES: usize = 40;

/// The page of a run that ended.
pub(super) fn page(summary: &Summary) -> String {
    let review = &summary.review;
    let mut text = heading(&summary.rows);
    text.push_str(&steps(review.earlier.iter().chain(&summary.rows)));
    text.push_str(&facts(summary));
    // A section that would make the page too long is left out.
    for section in [
        review.coverage.as_ref().map(coverage),
        Some(slowest_tests(&review.slowest_tests)),
        review.changes.as_ref().map(changes),
    ] {
        let section = section.unwrap_or_default();
        if text.len() + section.len() <= LONGEST {
            text.push_str(&section);
        }
    }
    if text.len() > LONGEST { String::new() } else { text }
}

/// The part of the page about a failure.
pub(super) fn failure(failed: &Failed) -> String {
    let step = failed.step.as_deref().unwrap_or("cargo xtask");
    let mut text = format!("#### {}: {}\n\n", inline(step), failed.exit.meaning());
    text.push_str(&fenced("text", failed.message.lines().take(MOST_LINES)));
    for finding in failed.findings.iter().take(MOST_PLACES) {
        // Writing to a string cannot fail.
        writeln!(text, "- {} {}", code(&finding.place()), inline(&finding.message)).ok();
    }
    if let more @ 1.. = failed.findings.len().saturating_sub(MOST_PLACES) {
        writeln!(text, "- and {more} more: see the log").ok();
    }
    if let Some(again) = &failed.again {
        write!(text, "\nRun it again with {}.\n", code(again)).ok();
    }
    text.push('\n');
    if text.len() > LONGEST { String::new() } else { text }
}

fn heading(rows: &[Row]) -> String {
    match rows {
        [row] => format!("### {} {}\n\n", inline(&row.step), row.outcome.word()),
        _ => "### Pipeline\n\n".to_owned(),
    }
}

fn steps<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut text = String::from("| job | step | outcome | time | remark |\n|---|---|---|--:|---|\n");
    for row in rows {
        let time = match row.outcome {
            Outcome::Skipped | Outcome::Reused => String::new(),
            _ => seconds(row.milliseconds),
        };
        let (job, step, outcome) = (inline(&row.job), inline(&row.step), row.outcome.word());
        writeln!(text, "| {job} | {step} | {outcome} | {time} | {} |", inline(&row.remark)).ok();
    }
    text + "\n"
}

/// The facts without a section of their own, and the links.
fn facts(summary: &Summary) -> String {
    let review = &summary.review;
    let is_shown = |name: &str| {
        let has_more = name == "coverage" && review.coverage.is_some();
        let has_link = review.links.iter().any(|link| link.what == name);
        let has_link = has_link || name == "url" && review.links.iter().any(|link| link.what == "service");
        // The record lies on the runner, which is gone.
        !has_more && !has_link && name != "record"
    };
    let mut text = String::new();
    for (name, value) in summary.facts.iter().filter(|(name, _)| is_shown(name)) {
        writeln!(text, "- {}: {}", inline(name), code(value)).ok();
    }
    if let Some(size) = &review.image {
        writeln!(text, "- image size: {}", image_size(size)).ok();
    }
    for PageLink { what, name, url } in &review.links {
        // An address that could end the link is shown as text.
        let is_plain = |url: &&String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'*+,;=%".contains(c);
            url.starts_with("http") && url.chars().all(plain)
        };
        match url.as_ref().filter(is_plain) {
            Some(url) => writeln!(text, "- {}: [{}](<{url}>)", inline(what), code(name)).ok(),
            None => writeln!(text, "- {}: {}", inline(what), code(name)).ok(),
        };
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn image_size(ImageSize { bytes, before }: &ImageSize) -> String {
    let now = size(*bytes);
    match before {
        None => format!("{now}, no earlier figure"),
        Some(before) if before == bytes => format!("{now}, as before"),
        Some(before) if before < bytes => format!("{now}, {} more than before", size(bytes - before)),
        Some(before) => format!("{now}, {} less than before", size(before - bytes)),
    }
}

fn coverage(CoverageChange { branch, now, before, lost }: &CoverageChange) -> String {
    let CoveredLines { lines, covered } = now;
    let figure = format!("{} of lines ({covered} of {lines})", percent(now.tenths()));
    let compared = match before {
        None => format!("no earlier figures of {}", code(branch)),
        Some(before) => {
            let by = now.tenths().abs_diff(before.lines.tenths());
            let points = format!("{}.{} points", by / 10, by % 10);
            let than = match now.tenths().cmp(&before.lines.tenths()) {
                std::cmp::Ordering::Less => format!("{points} less than"),
                std::cmp::Ordering::Equal => "as".to_owned(),
                std::cmp::Ordering::Greater => format!("{points} more than"),
            };
            format!("{than} on {} at {}", code(branch), code(&crate::short(&before.commit)))
        }
    };
    let mut text = format!("#### Coverage\n\n{figure}, {compared}.\n\n");
    match lost.as_slice() {
        [] if before.is_some() => text.push_str("No file lost coverage.\n\n"),
        [] => {}
        lost => {
            text.push_str("| file that lost | before | now | lines missed |\n|---|--:|--:|--:|\n");
            for file in lost {
                let (before, now) = (percent(file.before.tenths()), percent(file.now.tenths()));
                let missed = format!("{} → {}", file.before.missed(), file.now.missed());
                writeln!(text, "| {} | {before} | {now} | {missed} |", code(&file.file)).ok();
            }
            text.push('\n');
        }
    }
    text
}

fn percent(tenths: u64) -> String {
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn slowest_tests(tests: &[TestTime]) -> String {
    if tests.is_empty() {
        return String::new();
    }
    let mut text = "#### Slowest tests\n\n| test | time |\n|---|--:|\n".to_owned();
    for TestTime { test, milliseconds } in tests {
        writeln!(text, "| {} | {} |", code(test), seconds(*milliseconds)).ok();
    }
    text + "\n"
}

/// The plan as a difference: the image, and the variables by name.
fn changes(ServiceChanges { from, to, variables, kept, plan }: &ServiceChanges) -> String {
    let release = |release: &Release| {
        let commit = release
            .commit
            .as_deref()
            .map_or_else(|| "commit unknown".to_owned(), |commit| format!("commit {}", crate::short(commit)));
        format!("image {} ({commit})", crate::short(&release.digest))
    };
    let mut lines = vec![match from {
        None => "- nothing live".to_owned(),
        Some(from) => format!("- {}", release(from)),
    }];
    lines.push(format!("+ {}", release(to)));
    for variable in variables {
        let (sign, what) = match variable.change {
            ChangeKind::Add => ('+', "added"),
            ChangeKind::Change => ('!', "changed"),
            ChangeKind::Remove => ('-', "removed"),
        };
        lines.push(format!("{sign} {} {what}", variable.name));
    }
    let kept = match kept {
        1 => "1 variable is kept".to_owned(),
        many => format!("{many} variables are kept"),
    };
    let diff = fenced("diff", lines.iter().map(String::as_str));
    let plan: String = plan.chars().take(12).collect();
    format!("#### What changes on the service\n\n{diff}{kept}; the plan is {}.\n\n", code(&plan))
}

/// Lines as they are, in a block that none of them can end.
fn fenced<'l>(language: &str, lines: impl Iterator<Item = &'l str>) -> String {
    let lines: Vec<String> = lines.map(cut).collect();
    let longest = lines.iter().map(|line| longest_run(line, '`')).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n\n", lines.join("\n"))
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or_default()
}

/// A name or a value: in it, GitHub looks for no mention and no emoji either.
fn code(text: &str) -> String {
    format!("<code>{}</code>", inline(text))
}

/// Text in one line, of which no character means anything to Markdown or HTML.
fn inline(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in cut(text).chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            // What begins with it would notify somebody.
            '@' => shown.push_str("&#64;\u{200b}"),
            '&' | '<' | '>' | '"' | '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '$' | '!' => {
                write!(shown, "&#{};", u32::from(c)).ok();
            }
            _ => shown.push(c),
        }
    }
    shown
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
