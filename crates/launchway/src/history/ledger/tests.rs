use super::*;
use crate::history::tests::{bytes, deployed, ended};

fn reports(ids: &[(&str, u64)]) -> Reports {
    ids.iter().map(|(id, seconds)| ((*id).to_owned(), bytes(&ended(id, *seconds)))).collect()
}

#[test]
fn lines_are_in_the_order_in_which_runs_ended() {
    let mut ledger = Ledger::default();
    assert!(ledger.add(&reports(&[("b", 1), ("a", 2)])).unwrap());
    assert!(!ledger.add(&reports(&[("a", 2)])).unwrap());
    assert!(ledger.add(&reports(&[("a", 2), ("c", 3)])).unwrap());
    let text = String::from_utf8(ledger.parts.concat()).unwrap();
    let ids: Vec<_> =
        text.lines().map(|line| line.split(r#""id":""#).nth(1).unwrap().get(..1).unwrap()).collect();
    assert_eq!(ids, ["b", "a", "c"]);
    assert_eq!(Ledger::of(ledger.parts.clone()).reports, ledger.reports);
}

#[test]
fn a_full_part_does_not_change() {
    let mut ledger = Ledger::default();
    let many: Vec<(String, u64)> = (0..900).map(|number| (format!("run-{number:03}"), number)).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|(id, seconds)| (id.as_str(), *seconds)).collect();
    ledger.add(&reports(&many)).unwrap();
    assert!(ledger.parts.len() > 1 && ledger.parts.iter().all(|part| part.len() < FULL + 4096));
    let before = ledger.parts.clone();
    ledger.add(&reports(&[("one-more", 1000)])).unwrap();
    assert_eq!(ledger.parts[0], before[0]);
    assert_eq!(Ledger::of(ledger.parts).reports.len(), 901);
}

#[test]
fn a_ledger_of_an_earlier_version_is_read_and_added_to() {
    // Each of its lines began with the SHA-256 of the line before.
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let [one, two] = ["a", "b"].map(|id| String::from_utf8(bytes(&ended(id, 1))).unwrap());
    let text = format!("{digest} {one}\n{digest} {two}\n");
    let mut ledger = Ledger::of(vec![text.clone().into_bytes()]);
    assert_eq!(ledger.reports, reports(&[("a", 1), ("b", 1)]));
    assert!(ledger.add(&reports(&[("a", 1), ("c", 3)])).unwrap());
    assert!(ledger.parts[0].starts_with(text.as_bytes()));
    assert_eq!(Ledger::of(ledger.parts).reports.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_line_that_this_version_does_not_understand_is_passed_on() {
    let odd = b"{\"id\":\"b\",\"schema\":7}\n{\"kind\":\"checkpoint\"}\nnonsense \xff\n{\"id\":\"cut";
    let mut ledger = Ledger::of(vec![odd.to_vec()]);
    assert_eq!(ledger.reports.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(ledger.reports["b"], br#"{"id":"b","schema":7}"#);
    assert!(ledger.add(&reports(&[("c", 3)])).unwrap());
    assert!(ledger.parts[0].starts_with(odd));
    assert_eq!(Ledger::of(ledger.parts).reports.keys().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn only_one_line_fits_in_a_line() {
    let mut ledger = Ledger::default();
    let broken = serde_json::to_vec_pretty(&deployed("a")).unwrap();
    let error = ledger.add(&Reports::from([("a".to_owned(), broken)])).unwrap_err();
    assert!(error.to_string().contains("`a` is not one line"), "{error}");
}
