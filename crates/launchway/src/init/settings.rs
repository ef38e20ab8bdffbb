//! Files of settings for several environments, as the crate `config` merges them: a common file, the file of the
//! environment that a variable selects, and variables with a prefix.

use std::collections::BTreeMap;

use super::code::{Source, blanks};
use super::detect::has_extension;
use super::dockerfile::Dockerfile;
use super::findings::{Found, Place, Variable};
use super::repository::Repository;
use super::variables::is_name;
use super::yaml::{self, Node};

/// The values of a file by their keys, from the outermost to the innermost, with their lines.
type Values = BTreeMap<Vec<String>, (String, usize)>;

/// The variables for what the file of another environment sets, and the files of the image do not.
///
/// None where the sources or the files leave a doubt.
pub(super) fn missing(
    repository: &Repository,
    sources: &[Source],
    read: &[Found<Variable>],
    dockerfile: Option<&Dockerfile>,
) -> Vec<Found<Variable>> {
    variables(repository, sources, read, dockerfile).unwrap_or_default()
}

fn variables(
    repository: &Repository,
    sources: &[Source],
    read: &[Found<Variable>],
    dockerfile: Option<&Dockerfile>,
) -> Option<Vec<Found<Variable>>> {
    let names = Names::find(sources)?;
    let is_named = |stem: &str| {
        let mut strings = sources.iter().flat_map(|source| &source.strings);
        strings.any(|text| self::stem(&text.value).eq_ignore_ascii_case(stem))
    };
    let mut common = repository.files.iter().filter(|path| {
        has_extension(path, &["yaml", "yml", "json"])
            && matches!(stem(path), "base" | "default")
            && is_named(stem(path))
    });
    let (common, None) = (common.next()?, common.next()) else { return None };
    let beside = |path: &&String| {
        let split =
            |path: &str| path.rsplit_once('/').map(|(folder, name)| (folder.to_owned(), extension(name)));
        split(path) == split(common) && *path != common
    };
    let others: Vec<&String> = repository.files.iter().filter(beside).collect();
    let chain = dockerfile?.chain();
    let set = chain.iter().flat_map(|stage| &stage.instructions).filter(|found| found.keyword == "ENV");
    let selected = set.flat_map(super::dockerfile::Instruction::pairs).find_map(|(name, value)| {
        let is_read = read.iter().any(|variable| variable.value.name == name);
        others.iter().find(|path| is_read && stem(path).eq_ignore_ascii_case(&value)).copied()
    })?;
    let mut known = values(repository, common)?;
    known.extend(values(repository, selected)?);
    let mut found: Vec<Found<Variable>> = Vec::new();
    for path in others.into_iter().filter(|path| *path != selected && is_named(stem(path))) {
        for (keys, (value, line)) in values(repository, path)? {
            let Some(name) = names.of(&keys).filter(|name| is_name(name)) else { continue };
            let is_new = !known.contains_key(&keys) && !found.iter().any(|known| known.value.name == name);
            if is_new && keys.last().is_some_and(|key| is_required(sources, key)) {
                let variable = Variable { name, needed: true, elsewhere: Some(value) };
                found.push(Found::new(variable, Place::line(path, line)));
            }
        }
    }
    Some(found)
}

/// How the names of the variables are made.
struct Names {
    prefix: String,
    after_prefix: String,
    between: Option<String>,
}

impl Names {
    /// Those of the only `Environment::with_prefix("…")` in the sources.
    fn find(sources: &[Source]) -> Option<Self> {
        const CALL: &str = "Environment::with_prefix(";

        let mut calls = sources.iter().flat_map(|source| source.after(CALL).map(move |at| (source, at)));
        let ((source, at), None) = (calls.next()?, calls.next()) else { return None };
        let prefix = source.string_at(at + blanks(source.code.get(at..)?))?;
        let chain = source.statement(prefix.end);
        if ["convert_case", "keep_prefix"].iter().any(|call| chain.contains(call)) {
            return None;
        }
        let argument = |call: &str| {
            let (_, rest) = chain.split_once(&format!(".{call}(\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let between = argument("separator");
        let after_prefix = argument("prefix_separator").or_else(|| between.clone());
        Some(Self {
            prefix: prefix.value.clone(),
            after_prefix: after_prefix.unwrap_or_else(|| "_".to_owned()),
            between,
        })
    }

    /// The variable for a key; none if no variable can set it.
    fn of(&self, keys: &[String]) -> Option<String> {
        let key = match (keys, &self.between) {
            ([key], _) => key.clone(),
            (keys, Some(between)) => keys.join(between),
            (_, None) => return None,
        };
        Some(format!("{}{}{key}", self.prefix, self.after_prefix).to_ascii_uppercase())
    }
}

/// The last part of a path without its extension.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

fn extension(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

fn values(repository: &Repository, path: &str) -> Option<Values> {
    fn add(node: &Node, keys: &[String], values: &mut Values) {
        if let Some(text) = node.text() {
            values.insert(keys.to_vec(), (text.to_owned(), node.line));
        }
        for (key, node) in node.entries() {
            add(node, &[keys, &[key.to_ascii_lowercase()]].concat(), values);
        }
    }
    let mut found = Values::new();
    add(&yaml::parse(&repository.text(path)?).ok()?, &[], &mut found);
    Some(found)
}

/// Whether the sources have a field of this name, and none that may be absent.
fn is_required(sources: &[Source], key: &str) -> bool {
    let field = format!(" {key}:");
    let mut fields = sources
        .iter()
        .flat_map(|source| source.after(&field).collect::<Vec<_>>().into_iter().map(move |at| (source, at)));
    let is_optional = |(source, at): (&Source, usize)| {
        let (before, kind) = source.code.split_at(at);
        let attributes = before.trim_end_matches(&field).rsplit([',', '{', ';']).next().unwrap_or_default();
        kind.trim_start().starts_with("Option<") || attributes.contains("default")
    };
    let any = fields.next();
    any.is_some_and(|first| !is_optional(first) && !fields.any(is_optional))
}
