//! The workflows that a repository has: their jobs with their steps, and what their expressions stand for.

use std::collections::BTreeMap;

use super::detect::has_extension;
use super::findings::{Found, Place};
use super::repository::Repository;
use super::yaml::{self, Node};

/// The jobs of all workflows.
#[derive(Clone, Debug, Default)]
pub(super) struct Workflows {
    /// The files, none of which is ours.
    pub(super) paths: Vec<String>,
    pub(super) jobs: Vec<Job>,
    /// Files that cannot be read, with the reason.
    pub(super) unread: Vec<Found<String>>,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) path: String,
    /// Whether a push or a pull request starts it.
    pub(super) tests_changes: bool,
    /// Whether it runs in a container, where a service has its name and no port of the machine.
    pub(super) in_container: bool,
    pub(super) services: Vec<(String, Node)>,
    pub(super) scope: Scope,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) path: String,
    /// With the variables of the step.
    pub(super) scope: Scope,
    /// The commands of `run`, each with its place.
    pub(super) commands: Vec<Found<String>>,
    /// The action, with its place.
    pub(super) uses: Option<Found<String>>,
    pub(super) with: Node,
    /// Whether the job goes on when it fails.
    pub(super) may_fail: bool,
    /// The folder that it runs in, relative to the git root.
    pub(super) folder: String,
}

/// What expressions stand for in one place.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The owner and the name of the repository.
    origin: Option<(String, String)>,
    pub(super) env: BTreeMap<String, Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// Its value, or the expression in it that only GitHub knows.
    pub(super) value: Result<String, String>,
    pub(super) place: Place,
    pub(super) is_of_step: bool,
}

/// More files than a repository has.
const MOST_FILES: usize = 64;
/// The longest value that is expanded, in bytes.
const LONGEST: usize = 16 << 10;

impl Workflows {
    pub(super) fn read(repository: &Repository) -> Self {
        let is_workflow =
            |path: &&String| path.starts_with(".github/workflows/") && has_extension(path, &["yml", "yaml"]);
        let mut found =
            Self { paths: repository.files.iter().filter(is_workflow).cloned().collect(), ..Self::default() };
        let origin = repository.origin().map(|found| found.value);
        for (number, path) in found.paths.iter().enumerate() {
            let text = repository.text(path).filter(|_| number < MOST_FILES);
            let node = text
                .map_or_else(|| Err("it is too large, or one of too many".to_owned()), |t| yaml::parse(&t));
            match node {
                Ok(node) => found.jobs.extend(jobs(path, &node, origin.as_ref())),
                Err(reason) => found.unread.push(Found::new(reason, Place::of(path))),
            }
        }
        found
    }
}

fn jobs(path: &str, workflow: &Node, origin: Option<&(String, String)>) -> Vec<Job> {
    let on = workflow.get("on").cloned().unwrap_or_default();
    let events = on.text().into_iter().chain(on.list().iter().filter_map(Node::text));
    let mut events = events.chain(on.entries().iter().map(|(name, _)| name.as_str()));
    let tests_changes = events.any(|event| {
        matches!(event, "push" | "pull_request" | "pull_request_target" | "merge_group" | "workflow_call")
    });
    let scope =
        Scope { origin: origin.cloned(), env: BTreeMap::new() }.within(path, workflow.get("env"), false);
    let folder_of =
        |node: &Node| node.get("defaults")?.get("run")?.get("working-directory")?.text().map(str::to_owned);
    let job = |job: &Node| {
        let scope = scope.within(path, job.get("env"), false);
        let folder = folder_of(job).or_else(|| folder_of(workflow)).unwrap_or_default();
        let steps = job.get("steps").map(Node::list).unwrap_or_default();
        Job {
            path: path.to_owned(),
            tests_changes,
            in_container: job.get("container").is_some(),
            services: job.get("services").map(|node| node.entries().to_vec()).unwrap_or_default(),
            steps: steps.iter().map(|node| step(path, node, &scope, &folder)).collect(),
            scope,
        }
    };
    workflow.get("jobs").map(Node::entries).unwrap_or_default().iter().map(|(_, node)| job(node)).collect()
}

fn step(path: &str, step: &Node, scope: &Scope, folder: &str) -> Step {
    let text = |key: &str| step.get(key).and_then(Node::text);
    let run = step.get("run").and_then(|node| Some((node.line, node.text()?)));
    let folder = text("working-directory").unwrap_or(folder);
    Step {
        path: path.to_owned(),
        scope: scope.within(path, step.get("env"), true),
        commands: run.map(|(line, text)| commands(path, line, text)).unwrap_or_default(),
        uses: step
            .get("uses")
            .and_then(|node| Some(Found::new(node.text()?.to_owned(), Place::line(path, node.line)))),
        with: step.get("with").cloned().unwrap_or_default(),
        may_fail: text("continue-on-error") == Some("true"),
        folder: folder.trim_start_matches("./").trim_matches('/').to_owned(),
    }
}

/// The commands of a script that starts in this line, without comments; a line that ends in `\` goes on.
fn commands(path: &str, first: usize, script: &str) -> Vec<Found<String>> {
    let mut found: Vec<Found<String>> = Vec::new();
    let mut open = false;
    for (number, text) in script.lines().enumerate() {
        let text = text.trim();
        let (part, goes_on) = text.strip_suffix('\\').map_or((text, false), |part| (part.trim_end(), true));
        match found.last_mut().filter(|_| open) {
            Some(last) => last.value = format!("{} {part}", last.value),
            None if part.is_empty() || part.starts_with('#') => continue,
            None => found.push(Found::new(part.to_owned(), Place::line(path, first + number))),
        }
        open = goes_on;
    }
    found
}

impl Scope {
    /// The scope inside something with an `env`; its values are read in the outer one, as GitHub does.
    fn within(&self, path: &str, env: Option<&Node>, is_of_step: bool) -> Self {
        let mut inner = self.clone();
        for (name, node) in env.map(Node::entries).unwrap_or_default() {
            let value = self.expand(node.text().unwrap_or_default());
            let place = Place::line(path, node.line);
            inner.env.insert(name.clone(), Variable { value, place, is_of_step });
        }
        inner
    }

    /// The text with its expressions replaced; the error is an expression that only GitHub can evaluate.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}").unwrap_or((after, ""));
            expanded += before;
            expanded += &self.value(expression.trim())?;
            rest = after;
            if expanded.len() > LONGEST {
                return Err("a value of many kilobytes".to_owned());
            }
        }
        Ok(expanded + rest)
    }

    fn value(&self, expression: &str) -> Result<String, String> {
        let unknown = || format!("${{{{ {expression} }}}}");
        if let Some(name) = expression.strip_prefix("env.") {
            return self.env.get(name).map_or_else(|| Err(unknown()), |variable| variable.value.clone());
        }
        let (owner, name) = self.origin.as_ref().ok_or_else(unknown)?;
        match expression {
            "github.repository_owner" => Ok(owner.clone()),
            "github.repository" => Ok(format!("{owner}/{name}")),
            "github.event.repository.name" => Ok(name.clone()),
            _ => Err(unknown()),
        }
    }

    /// A word of a script, with the variables of the shell too.
    fn expand_word(&self, word: &str) -> Result<String, String> {
        let word = self.expand(word)?;
        let Some((before, after)) = word.split_once('$') else { return Ok(word) };
        let inside = after.strip_prefix('{').unwrap_or(after);
        let name = super::code::word(inside);
        let rest = inside.get(name.len()..).unwrap_or_default();
        let rest = if inside.len() < after.len() { rest.strip_prefix('}').unwrap_or(rest) } else { rest };
        let value = match (name, &self.origin) {
            ("GITHUB_REPOSITORY", Some((owner, name))) => Ok(format!("{owner}/{name}")),
            ("GITHUB_REPOSITORY_OWNER", Some((owner, _))) => Ok(owner.clone()),
            _ => {
                self.env.get(name).map_or_else(|| Err(format!("${name}")), |variable| variable.value.clone())
            }
        }?;
        // One more may follow; none of a value.
        Ok(format!("{before}{value}{}", self.expand_word(rest)?))
    }
}

/// The image that a workflow pushes, without its tag; otherwise what could not be read.
pub(super) fn pushed(workflows: &Workflows) -> (Option<Found<String>>, Vec<Found<String>>) {
    let mut unread: Vec<Found<String>> = Vec::new();
    for step in workflows.jobs.iter().flat_map(|job| &job.steps) {
        let keys = ["images", "tags", "image"].into_iter().filter_map(|key| Some((key, step.with.get(key)?)));
        let named = keys.flat_map(|(key, node)| {
            let place = Place::of(&step.path);
            let lines = node.text().unwrap_or_default().lines().enumerate();
            let names =
                lines.flat_map(|(number, line)| line.split(',').map(move |name| (number, name.to_owned())));
            names
                .map(|(number, name)| (key == "images", name, place.at(node.line + number)))
                .collect::<Vec<_>>()
        });
        let pushes = step.commands.iter().filter_map(|command| {
            let words = command.value.strip_prefix("docker push ")?;
            let word = words.split_whitespace().find(|word| !word.starts_with('-'));
            // An expression contains spaces.
            let text = if words.contains("${{") { words } else { word? };
            Some((false, text.to_owned(), command.place.clone()))
        });
        for (is_name, text, place) in named.chain(pushes) {
            // The name matters, and a tag is often an expression.
            let name = text
                .trim()
                .split_once(":$")
                .map_or_else(|| text.trim().to_owned(), |(name, _)| format!("{name}:tag"));
            match step.scope.expand_word(&name) {
                Ok(text) => {
                    if let Some(image) = image(&text, is_name) {
                        return (Some(Found::new(image, place)), Vec::new());
                    }
                }
                Err(expression) if text.contains('/') => {
                    unread.push(Found::new(
                        format!("`{}`: only GitHub knows `{expression}`", text.trim()),
                        place,
                    ));
                }
                Err(_) => {}
            }
        }
    }
    unread.truncate(1);
    (None, unread)
}

/// An image's repository as written in a workflow; `is_name` if nothing else can stand there.
fn image(text: &str, is_name: bool) -> Option<String> {
    let text = text.trim_matches(['"', '\'', ' ']).split([',', ' ']).next().unwrap_or_default();
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    };
    let host = name.split('/').next().filter(|host| host.contains(['.', ':']));
    let parts = name.split('/').count();
    let plausible = host.map_or(parts == 2 && (is_name || tag.is_some()), |_| parts > 2);
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./:".contains(c);
    let name = name.to_ascii_lowercase();
    if !plausible || !name.chars().all(is_part) {
        return None;
    }
    Some(if host.is_some() { name } else { format!("docker.io/{name}") })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::init) fn of(text: &str) -> Workflows {
        let node = yaml::parse(text).unwrap();
        let origin = ("acme".to_owned(), "web".to_owned());
        Workflows { jobs: jobs("ci.yml", &node, Some(&origin)), ..Workflows::default() }
    }

    #[test]
    fn an_image_is_read_as_workflows_write_it() {
        for (text, is_name, expected) in [
            ("ghcr.io/acme/web:latest", false, Some("ghcr.io/acme/web")),
            ("ghcr.io/Acme/web", true, Some("ghcr.io/acme/web")),
            ("acme/web:1", false, Some("docker.io/acme/web")),
            ("acme/web", false, None),
            ("acme/web", true, Some("docker.io/acme/web")),
            ("type=ref,event=branch", false, None),
            ("v*", false, None),
        ] {
            assert_eq!(image(text, is_name).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_pushed_image_is_found_through_the_variables_of_its_workflow() {
        let workflow = |steps: &str| {
            format!(
                "on: push\nenv:\n  REGISTRY: ghcr.io\n  IMAGE_NAME: ${{{{ github.repository }}}}\njobs:\n  push:\n    env:\n      FULL: ${{{{ env.REGISTRY }}}}/${{{{ env.IMAGE_NAME }}}}\n    steps:\n{steps}"
            )
        };
        for (steps, expected) in [
            (
                "      - uses: docker/metadata-action@v5\n        with:\n          images: ${{ env.REGISTRY }}/${{ env.IMAGE_NAME }}\n",
                "ghcr.io/acme/web ci.yml:12",
            ),
            (
                "      - uses: docker/build-push-action@v6\n        with:\n          push: true\n          tags: |\n            ${{ env.FULL }}:latest\n",
                "ghcr.io/acme/web ci.yml:14",
            ),
            (
                "      - run: |\n          docker build .\n          docker push $REGISTRY/${IMAGE_NAME}:1\n",
                "ghcr.io/acme/web ci.yml:12",
            ),
            ("      - run: docker push ${{ env.FULL }}:${{ github.sha }}\n", "ghcr.io/acme/web ci.yml:10"),
            ("      - run: docker push $FULL:$GITHUB_SHA\n", "ghcr.io/acme/web ci.yml:10"),
            ("      - run: docker push $OTHER/web\n", ""),
        ] {
            let (found, _) = pushed(&of(&workflow(steps)));
            let found = found.map(|found| format!("{} {}", found.value, found.place)).unwrap_or_default();
            assert_eq!(found, expected, "{steps}");
        }
        let secret = "      - uses: docker/build-push-action@v6\n        with:\n          tags: ${{ secrets.USER }}/web:1\n";
        let (found, unread) = pushed(&of(&workflow(secret)));
        assert_eq!(found, None);
        assert_eq!(unread[0].value, "`${{ secrets.USER }}/web:1`: only GitHub knows `${{ secrets.USER }}`");
        assert_eq!(unread[0].place.to_string(), "ci.yml:12");
    }

    #[test]
    fn commands_have_their_lines() {
        let text = "on: [push]\njobs:\n  a:\n    defaults:\n      run:\n        working-directory: ./backend/\n    steps:\n      - run: cargo test\n      - run: |\n          # first\n          cargo machete \\\n            --with-metadata\n\n          typos\n        continue-on-error: true\n";
        let found = of(text);
        let job = &found.jobs[0];
        assert!(job.tests_changes && !job.in_container && job.steps[1].may_fail && !job.steps[0].may_fail);
        assert_eq!(job.steps[0].folder, "backend");
        let commands: Vec<String> = job
            .steps
            .iter()
            .flat_map(|step| &step.commands)
            .map(|c| format!("{} {}", c.place, c.value))
            .collect();
        assert_eq!(
            commands,
            ["ci.yml:8 cargo test", "ci.yml:11 cargo machete --with-metadata", "ci.yml:14 typos"]
        );
    }
}
