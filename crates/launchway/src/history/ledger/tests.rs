use super::*;
use crate::history::tests::{bytes, deployed, ended};

fn reports(ids: &[(&str, u64)]) -> Reports {
    ids.iter().map(|(id, seconds)| ((*id).to_owned(), bytes(&ended(id, *seconds)))).collect()
}

#[test]
fn lines_follow_one_another_in_the_order_in_which_runs_ended() {
    let mut ledger = Ledger::default();
    assert!(ledger.add(&reports(&[("b", 1), ("a", 2)])).unwrap());
    assert!(!ledger.add(&reports(&[("a", 2)])).unwrap());
    assert!(ledger.add(&reports(&[("a", 2), ("c", 3)])).unwrap());
    let text = String::from_utf8(ledger.parts.concat()).unwrap();
    let ids: Vec<_> =
        text.lines().map(|line| line.split(r#""id":""#).nth(1).unwrap().get(..1).unwrap()).collect();
    assert_eq!(ids, ["b", "a", "c"]);
    // SHA-256 of nothing.
    assert!(text.starts_with("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 {"), "{text}");
    let again = Ledger::verified(ledger.parts.clone()).unwrap();
    assert_eq!((again.head, again.reports), (ledger.head, ledger.reports));
}

#[test]
fn a_part_that_is_full_is_left_as_it_is() {
    let mut ledger = Ledger::default();
    let many: Vec<(String, u64)> = (0..900).map(|number| (format!("run-{number:03}"), number)).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|(id, seconds)| (id.as_str(), *seconds)).collect();
    ledger.add(&reports(&many)).unwrap();
    assert!(ledger.parts.len() > 1 && ledger.parts.iter().all(|part| part.len() < FULL + 4096));
    let before = ledger.parts.clone();
    ledger.add(&reports(&[("one-more", 1000)])).unwrap();
    assert_eq!(ledger.parts[0], before[0]);
    assert_eq!(Ledger::verified(ledger.parts).unwrap().reports.len(), 901);
}

#[test]
fn what_was_changed_shows() {
    let mut ledger = Ledger::default();
    ledger.add(&reports(&[("a", 1), ("b", 2), ("c", 3)])).unwrap();
    let text = String::from_utf8(ledger.parts.concat()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let said = |text: String| format!("{:#}", Ledger::verified(vec![text.into_bytes()]).unwrap_err());
    assert!(said(text.replace(r#""id":"a""#, r#""id":"x""#)).contains("line 2 does not follow"));
    assert!(said(format!("{}\n{}\n", lines[0], lines[2])).contains("line 2 does not follow"));
    assert!(said(format!("{}\n", lines[1])).contains("line 1 does not follow"));
    assert!(said(text.trim_end().to_owned()).contains("not whole"));
    assert!(said("nonsense\n".to_owned()).contains("no digest"));
}

#[test]
fn a_line_that_this_version_does_not_understand_is_no_change() {
    let mut ledger = Ledger::default();
    ledger.add(&reports(&[("a", 1)])).unwrap();
    for json in [r#"{"id":"b","schema":7}"#, r#"{"kind":"checkpoint"}"#] {
        let line = format!("{} {json}", ledger.head.as_ref().unwrap().hex());
        ledger.parts[0].extend_from_slice(format!("{line}\n").as_bytes());
        ledger.head = Some(Digest::of(line.as_bytes()));
    }
    let mut read = Ledger::verified(ledger.parts.clone()).unwrap();
    assert_eq!(read.reports.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(read.reports["b"], br#"{"id":"b","schema":7}"#);
    // It goes on from there, and leaves what is there as it is.
    assert!(read.add(&reports(&[("c", 3)])).unwrap());
    assert!(read.parts[0].starts_with(&ledger.parts[0]));
    assert_eq!(Ledger::verified(read.parts).unwrap().reports.len(), 3);
}

#[test]
fn only_one_line_fits_in_a_line() {
    let mut ledger = Ledger::default();
    let broken = serde_json::to_vec_pretty(&deployed("a")).unwrap();
    let error = ledger.add(&Reports::from([("a".to_owned(), broken)])).unwrap_err();
    assert!(error.to_string().contains("`a` is not one line"), "{error}");
}
