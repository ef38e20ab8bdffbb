//! `docs/schema.json` against what the program prints: every kind of event, and the run record.

use std::path::Path;

use launchway_core::events::json::{SCHEMA, line};
use launchway_core::events::{
    Count, DeployOutcome, Deployed, DrillEnd, Drilled, Event, Failed, FailedTest, Finding, Link, Outcome,
    Progress, Proof, Release, Review, Row, Summary, Unit,
};
use launchway_core::exit::Exit;
use serde_json::{Map, Value, json};

/// Fails unless a line of `--format json` is an event of the schema, with no field that the schema lacks.
pub(crate) fn is_event(event: &Value) {
    matches("event", event);
}

/// Fails unless the run record is as the schema says, with no field that the schema lacks.
pub(crate) fn is_record(record: &Value) {
    matches("record", record);
}

fn matches(definition: &str, value: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema.json");
    let root: Value = serde_json::from_str(&fs_err::read_to_string(file).unwrap()).unwrap();
    let schema = Schema { root: &root };
    let found = schema.check(&root["$defs"][definition], value);
    assert!(found.is_ok(), "docs/schema.json does not allow it: {}\n{value:#}", found.unwrap_err());
}

/// As much of JSON Schema as the file uses. A word that is not known here fails.
struct Schema<'a> {
    root: &'a Value,
}

impl Schema<'_> {
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        for (word, rule) in schema.as_object().unwrap() {
            match word.as_str() {
                "description" | "required" | "properties" => {}
                "$ref" => {
                    let name = rule.as_str().unwrap().trim_start_matches("#/$defs/");
                    self.check(&self.root["$defs"][name], value)?;
                }
                "const" => hold(rule == value, format!("{value} is not {rule}"))?,
                "enum" => {
                    hold(rule.as_array().unwrap().contains(value), format!("{value} is none of {rule}"))?;
                }
                "type" => hold(is_of(rule.as_str().unwrap(), value), format!("{value} is no {rule}"))?,
                "minimum" => hold(value.as_f64() >= rule.as_f64(), format!("{value} is below {rule}"))?,
                "pattern" => {
                    hold(fits(rule.as_str().unwrap(), value), format!("{value} does not fit {rule}"))?;
                }
                "items" => {
                    value.as_array().into_iter().flatten().try_for_each(|item| self.check(rule, item))?;
                }
                "anyOf" | "oneOf" => self.any(rule.as_array().unwrap(), value)?,
                other => return Err(format!("the test does not know `{other}`")),
            }
        }
        let (Some(required), Some(value)) = (schema.get("required"), value.as_object()) else {
            return Ok(());
        };
        self.fields(required.as_array().unwrap(), schema["properties"].as_object().unwrap(), value)
    }

    fn any(&self, schemas: &[Value], value: &Value) -> Result<(), String> {
        // Of events, the one of that kind says most.
        let is_kind = |schema: &&Value| schema["properties"]["event"]["const"] == value["event"];
        if let Some(schema) = schemas.iter().find(is_kind).filter(|_| value.get("event").is_some()) {
            return self.check(schema, value);
        }
        let errors: Vec<_> = schemas.iter().map(|schema| self.check(schema, value)).collect();
        hold(errors.iter().any(Result::is_ok), format!("nothing fits: {errors:?}"))
    }

    fn fields(
        &self,
        required: &[Value],
        known: &Map<String, Value>,
        value: &Map<String, Value>,
    ) -> Result<(), String> {
        for name in required {
            hold(value.contains_key(name.as_str().unwrap()), format!("{name} is missing"))?;
        }
        for (name, value) in value {
            let schema = known.get(name).ok_or(format!("`{name}` is not in the schema"))?;
            self.check(schema, value).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }
}

fn hold(holds: bool, error: String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(error) }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// The two patterns of the file.
fn fits(pattern: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match pattern {
        "^sha256:[0-9a-f]{64}$" => {
            let digits = text.strip_prefix("sha256:").unwrap_or_default();
            digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        }
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$" => text.get(10..11) == Some("T") && text.ends_with('Z'),
        _ => false,
    }
}

/// With every field.
fn reviewed() -> Box<Review> {
    let lines = json!({ "lines": 2, "covered": 1 });
    let release = json!({ "digest": format!("sha256:{}", "a".repeat(64)), "commit": "c0ffee" });
    let row = json!({ "job": "test", "step": "lint", "outcome": "passed", "milliseconds": 1, "remark": "" });
    let review = json!({
        "earlier": [row],
        "coverage": {
            "branch": "main",
            "now": lines,
            "before": { "commit": "c0ffee", "lines": lines },
            "lost": [{ "file": "a.rs", "before": lines, "now": lines }],
        },
        "slowest_tests": [{ "test": "app a", "milliseconds": 1 }],
        "image": { "bytes": 2, "before": 1 },
        "changes": {
            "from": release,
            "to": release,
            "variables": [{ "name": "HOSTS", "change": "add" }],
            "kept": 1,
            "plan": "c0ffee",
        },
        "links": [{ "what": "run", "name": "7", "url": "https://example.com" }],
    });
    serde_json::from_value(review).unwrap()
}

fn deployed() -> Deployed {
    let words = || "words".to_owned();
    let release = || Release { digest: format!("sha256:{}", "a".repeat(64)), commit: Some(words()) };
    Deployed {
        kind: "deploy".to_owned(),
        outcome: DeployOutcome::RolledBack,
        environment: words(),
        service: Some(words()),
        url: Some(words()),
        id: Some(words()),
        release: Some(release()),
        previous: Some(release()),
        is_up: Some(true),
        live_commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        reason: Some(words()),
        next: Some(words()),
        milliseconds: 1,
    }
}

/// An event of each kind, with every field that it can have. The compiler asks for a kind that is not here.
fn events() -> Vec<Event> {
    let words = || "words".to_owned();
    let finding = || Finding { source: Some(words()), ..Finding::new("a.rs", 1, "wrong") };
    let test = || FailedTest {
        name: words(),
        message: words(),
        place: Some(finding()),
        output: vec![words()],
        again: Some(words()),
    };
    let end = |exit| DrillEnd {
        exit,
        image: "earlier".to_owned(),
        variables: "their".to_owned(),
        latest: "new".to_owned(),
    };
    let mut next = Some(Event::Started { title: words() });
    let mut all = Vec::new();
    while let Some(event) = next {
        next = match &event {
            Event::Started { .. } => Some(Event::Text { text: words() }),
            Event::Text { .. } => Some(Event::Page { text: words() }),
            Event::Page { .. } => Some(Event::Planned { step: words(), lines: vec![words()] }),
            Event::Planned { .. } => Some(Event::JobStarted { job: words(), title: words() }),
            Event::JobStarted { .. } => {
                Some(Event::JobSkipped { job: words(), title: words(), reason: words() })
            }
            Event::JobSkipped { .. } => Some(Event::StepStarted { step: words(), log: words() }),
            Event::StepStarted { .. } => Some(Event::StepSkipped { step: words(), reason: words() }),
            Event::StepSkipped { .. } => Some(Event::StepReused { step: words(), reason: words() }),
            Event::StepReused { .. } => Some(Event::CheckSkipped { check: words(), reason: words() }),
            Event::CheckSkipped { .. } => Some(Event::Command { line: words(), short: words() }),
            Event::Command { .. } => Some(Event::Output { line: words() }),
            Event::Output { .. } => Some(Event::Note { text: words() }),
            Event::Note { .. } => Some(Event::Progress(Progress {
                step: words(),
                milliseconds: 1,
                expected_milliseconds: Some(2),
                count: Some(Count { unit: Unit::Crates, done: 1, total: Some(2) }),
                text: words(),
            })),
            Event::Progress(_) => Some(Event::Finding(finding())),
            Event::Finding(_) => Some(Event::TestFailed(test())),
            Event::TestFailed(_) => {
                Some(Event::StepFinished { step: words(), outcome: Outcome::Reused, milliseconds: 1 })
            }
            Event::StepFinished { .. } => Some(Event::Deployed(deployed())),
            Event::Deployed(_) => {
                let link = Link { what: words(), found: words(), wanted: words(), place: words() };
                Some(Event::Proof(Proof { links: vec![link] }))
            }
            Event::Proof(_) => Some(Event::Failed(Failed {
                step: Some(words()),
                message: words(),
                exit: Exit::DeployFailed,
                findings: vec![finding()],
                tests: vec![test()],
                tail: vec![words()],
                log: Some(words()),
                again: Some(words()),
                guide: Some(words()),
                deployment: Some(deployed()),
            })),
            Event::Failed(_) => {
                let row = Row {
                    job: words(),
                    step: words(),
                    outcome: Outcome::Skipped,
                    milliseconds: 1,
                    remark: words(),
                };
                let facts = vec![(words(), words())];
                let review = reviewed();
                Some(Event::Summary(Summary {
                    rehearsal: true,
                    rows: vec![row],
                    facts,
                    run_state: words(),
                    review,
                }))
            }
            Event::Summary(_) => Some(Event::Drill(Drilled {
                drill: words(),
                passed: true,
                expected: end(Some(5)),
                observed: end(None),
                milliseconds: 1,
                before: words(),
                after: words(),
                page: words(),
                remarks: vec![words()],
            })),
            Event::Drill(_) => None,
        };
        all.push(event);
    }
    all
}

#[test]
fn every_event_is_in_the_schema() {
    for event in events() {
        let value: Value = serde_json::from_str(&line(&event).unwrap()).unwrap();
        assert_eq!(value["schema"], SCHEMA);
        is_event(&value);
    }
}

#[test]
fn every_exit_code_is_in_the_schema() {
    for exit in Exit::ALL {
        let failed = Failed { exit, ..Failed::of(&std::io::Error::other("wrong").into()) };
        is_event(&serde_json::from_str(&line(&Event::Failed(failed)).unwrap()).unwrap());
    }
}

#[test]
#[should_panic(expected = "`surprise` is not in the schema")]
fn a_field_that_is_not_in_the_schema_is_found() {
    is_event(&json!({ "schema": SCHEMA, "event": "note", "text": "", "surprise": 1 }));
}

#[test]
#[should_panic(expected = "nothing fits")]
fn an_event_that_is_not_in_the_schema_is_found() {
    is_event(&json!({ "schema": SCHEMA, "event": "surprise" }));
}
