//! What a deploy changes on the service: no value in the clear, and a hash to agree on.

use std::fmt;

use anyhow::Result;
use ring::{digest, hmac};

use launchway_core::encode::hex;
use launchway_core::events::review::{ChangeKind, ServiceChanges, VariableChange};
use launchway_core::secret::{Secret, derived_key};
use launchway_render::model::EnvVar;

use super::release::Release;
use super::service_state::ServiceState;

/// The variables of a release: each value, or `None` to remove the variable.
pub(super) type Wanted = Vec<(String, Option<Secret>)>;

/// What a deploy changes on the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changes {
    service: String,
    from: Option<Release>,
    to: Release,
    /// By name.
    variables: Vec<Variable>,
}

/// A variable and its change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    change: Change,
    from: Option<Mark>,
    to: Option<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Replace,
    /// Only for a rollback to a release that did not have it.
    Remove,
    Keep,
    /// The pipeline does not own it.
    Unmanaged,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "change",
            Self::Remove => "remove",
            Self::Keep => "keep",
            Self::Unmanaged => "unmanaged",
        }
    }
}

/// A value in a form that reveals only whether it differs: its length, and the start of a keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    length: usize,
    hash: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters #{}", self.length, self.hash)
    }
}

impl Changes {
    /// The changes that make the service run this release with these variables.
    pub(super) fn new(marker: &Marker, before: &ServiceState, to: &Release, wanted: &Wanted) -> Self {
        let mut variables: Vec<Variable> = Vec::new();
        for (name, new) in wanted {
            let old = before.value(name);
            let change = match (old, new) {
                (None, None) => continue,
                (None, Some(_)) => Change::Add,
                (Some(_), None) => Change::Remove,
                (Some(old), Some(new)) if old == new => Change::Keep,
                (Some(_), Some(_)) => Change::Replace,
            };
            let mark = |value: &Secret| marker.mark(name, value);
            variables.push(Variable {
                name: name.clone(),
                change,
                from: old.map(mark),
                to: new.as_ref().map(mark),
            });
        }
        let unmanaged = |variable: &&EnvVar| wanted.iter().all(|(name, _)| *name != variable.key);
        variables.extend(before.variables.iter().filter(unmanaged).map(|EnvVar { key, value }| {
            let mark = Some(marker.mark(key, value));
            Variable { name: key.clone(), change: Change::Unmanaged, from: mark.clone(), to: mark }
        }));
        // Render lists them in any order.
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        Self { service: marker.service.clone(), from: before.release.clone(), to: to.clone(), variables }
    }

    /// The SHA-256 of the canonical form, in hexadecimal: the service, both digests, and each variable's change.
    pub(super) fn hash(&self) -> String {
        let mark = |mark: &Option<Mark>| {
            mark.as_ref().map_or_else(|| "-".to_owned(), |mark| format!("{}:{}", mark.length, mark.hash))
        };
        let from = self.from.as_ref().map_or("-", |from| from.digest.as_str());
        let mut text = format!("service {}\nfrom {from}\nto {}\n", self.service, self.to.digest);
        for Variable { name, change, from, to } in &self.variables {
            text = text + change.word() + " " + name + " " + &mark(from) + " " + &mark(to) + "\n";
        }
        hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    }

    /// What changes, as fields for the page of a run: no value, and no mark of one.
    pub(super) fn facts(&self) -> ServiceChanges {
        let name = |release: &Release| launchway_core::events::Release {
            digest: release.digest.clone(),
            commit: release.commit.clone(),
        };
        let changed = self.variables.iter().filter_map(|variable| {
            let change = match variable.change {
                Change::Add => ChangeKind::Add,
                Change::Replace => ChangeKind::Change,
                Change::Remove => ChangeKind::Remove,
                Change::Keep | Change::Unmanaged => return None,
            };
            Some(VariableChange { name: variable.name.clone(), change })
        });
        ServiceChanges {
            from: self.from.as_ref().map(name),
            to: name(&self.to),
            variables: changed.collect(),
            kept: self.variables.iter().filter(|variable| variable.change == Change::Keep).count(),
            plan: self.hash(),
        }
    }

    /// What to write: each variable that differs, with its new value or `None` to remove it.
    pub(super) fn writes<'w>(&self, wanted: &'w Wanted) -> Vec<&'w (String, Option<Secret>)> {
        let differs = |name: &str| {
            let differ = [Change::Add, Change::Replace, Change::Remove];
            self.variables.iter().any(|variable| variable.name == name && differ.contains(&variable.change))
        };
        wanted.iter().filter(|(name, _)| differs(name)).collect()
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let from = self.from.as_ref().map_or_else(|| "nothing live".to_owned(), Release::words);
        let mut lines = vec![format!("from {from}"), format!("to   {}", self.to.words())];
        let width = self.variables.iter().map(|variable| variable.name.len()).max().unwrap_or_default();
        let ours = self.variables.iter().filter(|variable| variable.change != Change::Unmanaged);
        for Variable { name, change, from, to } in ours {
            let marks: Vec<String> = match change {
                Change::Keep => to.iter().map(Mark::to_string).collect(),
                _ => from.iter().chain(to).map(Mark::to_string).collect(),
            };
            lines.push(format!("{:<7} {name:<width$} {}", change.word(), marks.join(" → ")));
        }
        let unmanaged: Vec<&str> = self
            .variables
            .iter()
            .filter(|variable| variable.change == Change::Unmanaged)
            .map(|variable| variable.name.as_str())
            .collect();
        if !unmanaged.is_empty() {
            lines.push(format!("unmanaged, left alone: {}", unmanaged.join(", ")));
        }
        lines.push(format!("plan {}", self.hash()));
        lines
    }
}

/// Hashes the service's values with a key that only its deployers have, so that a short value cannot be guessed.
pub(super) struct Marker {
    /// The service's id.
    service: String,
    key: hmac::Key,
}

impl Marker {
    /// Derives the key from a secret that all deployers share, so that they agree on a plan's hash.
    pub(super) fn new(service: &str, secret: &Secret) -> Result<Self> {
        let key = derived_key(secret, "launchway/plan/v1")?;
        Ok(Self { service: service.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    fn mark(&self, name: &str, value: &Secret) -> Mark {
        let tag = hmac::sign(&self.key, format!("{name}\0{}", value.expose()).as_bytes());
        let hash = hex(tag.as_ref()).chars().take(8).collect();
        Mark { length: value.expose().chars().count(), hash }
    }
}

/// Those of these names that Render sets itself.
pub(super) fn reserved<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    names.into_iter().filter(|name| *name == "PORT" || name.starts_with("RENDER")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_render::model::Service;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn before(variables: &[(&str, &str)]) -> ServiceState {
        let variables =
            variables.iter().map(|(key, value)| EnvVar { key: (*key).into(), value: Secret::new(*value) });
        ServiceState {
            service: Service::default(),
            variables: variables.collect(),
            live: None,
            release: Some(Release { digest: OTHER.to_owned(), ..Release::default() }),
            reported: None,
        }
    }

    fn planned(key: &str, have: &[(&str, &str)], want: &[(&str, Option<&str>)]) -> Changes {
        let marker = Marker::new("the-service", &Secret::new(key)).unwrap();
        let wanted: Vec<_> =
            want.iter().map(|(name, value)| ((*name).to_owned(), value.map(Secret::new))).collect();
        let to = Release { digest: DIGEST.to_owned(), platform: None, commit: Some("c0ffee".to_owned()) };
        Changes::new(&marker, &before(have), &to, &wanted)
    }

    const HAVE: [(&str, &str); 5] =
        [("SAME", "v-1"), ("OTHER", "v-2"), ("DIFFERENT", "v-3"), ("GONE", "v-6"), ("ANOTHER", "v-7")];
    const WANT: [(&str, Option<&str>); 5] = [
        ("SAME", Some("v-1")),
        ("DIFFERENT", Some("v-04")),
        ("NEW", Some("v-5")),
        ("GONE", None),
        ("NEVER", None),
    ];

    #[test]
    fn a_plan_tells_changes_and_no_value() {
        let plan = planned("the-key-of-the-test", &HAVE, &WANT);
        let text = plan.lines().join("\n").replace(DIGEST, "[digest]").replace(OTHER, "[other]");
        let (text, hash) = text.split_once("plan ").unwrap();
        assert_eq!(hash, plan.hash());
        insta::assert_snapshot!(text, @"
        from [other] (commit unknown)
        to   [digest] (commit c0ffee)
        change  DIFFERENT 3 characters #5e4c2625 → 4 characters #2644160e
        remove  GONE      3 characters #f83b0fee
        add     NEW       3 characters #6a64ea0c
        keep    SAME      3 characters #533bc14f
        unmanaged, left alone: ANOTHER, OTHER
        ");
        assert!(!format!("{text}{plan:?}").contains("v-"));
        let facts = plan.facts();
        let changed: Vec<_> = facts.variables.iter().map(|it| (&it.name[..], it.change)).collect();
        let expected =
            [("DIFFERENT", ChangeKind::Change), ("GONE", ChangeKind::Remove), ("NEW", ChangeKind::Add)];
        assert_eq!((changed.as_slice(), facts.kept, &facts.plan[..]), (&expected[..], 1, hash));
    }

    #[test]
    fn the_hash_is_of_what_changes_and_of_nothing_else() {
        let first = planned("one", &HAVE, &WANT).hash();
        assert_eq!(first.len(), 64);
        let mut turned = HAVE;
        turned.reverse();
        assert_eq!(planned("one", &turned, &WANT).hash(), first);
        for other in [
            planned("two", &HAVE, &WANT),
            planned("one", &HAVE[1..], &WANT),
            planned("one", &HAVE, &WANT[1..]),
            planned(
                "one",
                &[
                    ("SAME", "v-1"),
                    ("OTHER", "v-9"),
                    ("DIFFERENT", "v-3"),
                    ("GONE", "v-6"),
                    ("ANOTHER", "v-7"),
                ],
                &WANT,
            ),
        ] {
            assert_ne!(other.hash(), first);
        }
        // The same value under another name has another hash.
        let marks = planned("one", &[], &[("A", Some("v-1")), ("B", Some("v-1"))]);
        assert_ne!(marks.variables[0].to, marks.variables[1].to);
    }

    #[test]
    fn names_of_render_are_reserved() {
        assert_eq!(reserved(["PORT", "RENDER", "RENDER_X", "PORTAL", "A"]), ["PORT", "RENDER", "RENDER_X"]);
    }
}
