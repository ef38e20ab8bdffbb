//! The difference between the variables that a service has and those that a deploy sets.

use std::fmt;

use crate::secret::Secret;

use super::model::EnvVar;

/// A variable that a deploy sets, and what that does to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) value: Secret,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Changed,
    Unchanged,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Compares key by key. A variable that is not wanted is none of a deploy's business and stays as it is.
pub(crate) fn difference(
    current: &[EnvVar],
    wanted: impl IntoIterator<Item = (String, Secret)>,
) -> Vec<Wanted> {
    wanted
        .into_iter()
        .map(|(name, value)| {
            let change = match current.iter().find(|variable| variable.key == name) {
                None => Change::Added,
                Some(variable) if variable.value == value => Change::Unchanged,
                Some(_) => Change::Changed,
            };
            Wanted { name, value, change }
        })
        .collect()
}

/// The difference in words: names, never values.
pub(crate) fn words(wanted: &[Wanted], current: &[EnvVar]) -> String {
    let mut parts: Vec<String> =
        wanted.iter().map(|variable| format!("{} {}", variable.name, variable.change)).collect();
    let others =
        current.iter().filter(|variable| wanted.iter().all(|wanted| wanted.name != variable.key)).count();
    if others > 0 {
        parts.push(format!("{others} more left alone"));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_key_by_key_and_names_no_value() {
        let current = [("SAME", "v-1"), ("OTHER", "v-2"), ("DIFFERENT", "v-3")]
            .map(|(key, value)| EnvVar { key: key.to_owned(), value: Secret::new(value) });
        let wanted = [("SAME", "v-1"), ("DIFFERENT", "v-4"), ("NEW", "v-5")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let wanted = difference(&current, wanted);
        assert_eq!(
            words(&wanted, &current),
            "SAME unchanged, DIFFERENT changed, NEW added, 1 more left alone"
        );
        assert!(!format!("{wanted:?} {current:?}").contains("v-"));
        assert_eq!(words(&[], &[]), "none");
    }
}
