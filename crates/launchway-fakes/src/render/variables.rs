//! The service's environment variables: Render's API reference, "Environment variables".

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{MAX_BODY, page, parsed};
use super::refusal::Refusal;
use super::state::{State, Variables};
use crate::server::{Incoming, Shared, random_hex};

/// A variable in a list that a client sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    key: String,
    #[serde(flatten)]
    value: Given,
}

/// A value, or a request for a random one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    value: Option<String>,
    generate_value: Option<bool>,
}

/// GET of a page of all variables with their values. Their order changes from one read to the next.
pub(crate) fn list(state: &Shared<State>, request: &Incoming) -> Result<Response, Refusal> {
    let begins = request.parameter("cursor").is_none_or(|cursor| cursor.is_empty());
    let variables = state.change(|state| {
        if begins && !state.variables.is_empty() {
            state.variables.rotate_left(1);
        }
        state.variables.clone()
    });
    let items =
        variables.into_iter().map(|(key, value)| (key.clone(), json!({ "key": key, "value": value })));
    Ok(Json(page(items.collect(), request, "envVar")?).into_response())
}

/// PUT of the list. Replaces everything; `null` has been observed to wipe it.
pub(crate) async fn replace(state: &Shared<State>, request: &mut Incoming) -> Result<Response, Refusal> {
    let given: Option<Vec<Named>> = parsed(&request.bytes(MAX_BODY).await?)?;
    let mut variables = Variables::new();
    for Named { key, value } in given.unwrap_or_default() {
        let value = value.resolve()?;
        variables.retain(|(name, _)| *name != key);
        variables.push((valid_key(&key)?.to_owned(), value));
    }
    let items: Vec<Value> = variables
        .iter()
        .map(|(key, value)| json!({ "cursor": key, "envVar": { "key": key, "value": value } }))
        .collect();
    state.change(|state| state.variables = variables);
    Ok(Json(items).into_response())
}

/// GET of one variable.
pub(crate) fn get(state: &Shared<State>, key: &str) -> Result<Response, Refusal> {
    let found = state.read(|state| state.variables.iter().find(|(name, _)| name == key).cloned());
    let (key, value) = found.ok_or_else(|| Refusal::not_found(key))?;
    Ok(Json(json!({ "key": key, "value": value })).into_response())
}

/// PUT of one variable: adds or changes it and leaves the others alone.
pub(crate) async fn put(
    state: &Shared<State>,
    key: &str,
    request: &mut Incoming,
) -> Result<Response, Refusal> {
    let given: Given = parsed(&request.bytes(MAX_BODY).await?)?;
    let (key, value) = (valid_key(key)?, given.resolve()?);
    state.change(|state| state.set_variable(key, value.clone()));
    Ok(Json(json!({ "key": key, "value": value })).into_response())
}

/// DELETE of one variable: 204 without a body.
pub(crate) fn delete(state: &Shared<State>, key: &str) -> Result<Response, Refusal> {
    let position = state.change(|state| {
        let position = state.variables.iter().position(|(name, _)| name == key)?;
        Some(state.variables.remove(position))
    });
    position.ok_or_else(|| Refusal::not_found(key))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Given {
    fn resolve(self) -> Result<String, Refusal> {
        match (self.value, self.generate_value) {
            (Some(value), None | Some(false)) => Ok(value),
            (None, Some(true)) => Ok(random_hex::<32>()),
            _ => Err(Refusal::bad("exactly one of value and generateValue is required")),
        }
    }
}

fn valid_key(key: &str) -> Result<&str, Refusal> {
    let word = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.');
    if key.starts_with(word) && key.chars().all(|c| word(c) || c.is_ascii_digit()) {
        Ok(key)
    } else {
        Err(Refusal::bad("invalid environment variable key"))
    }
}
