//! The profile that Junie CLI reads in a project: `.junie/models/NAME.json`.

#![expect(clippy::disallowed_methods, reason = "the file is the project's")]

use std::fs;
use std::io::{ErrorKind, Write};

use portclaim::ProjectPath;
use serde_json::{Map, Value};

use super::report::Failure;

/// How the profile is called: `junie --model custom:portclaim`.
pub(super) const NAME: &str = "portclaim";

/// Writes the profile, or sets the address in the one that is there and leaves all else in it. Returns its path.
pub(super) fn write(
    project: &ProjectPath,
    url: &str,
    model: Option<&str>,
) -> Result<String, Failure> {
    let directory = project.as_path().join(".junie/models");
    let path = directory.join(format!("{NAME}.json"));
    let failed = |what: &str, error: &std::io::Error| {
        Failure::io(&format!("failed to {what} {path}"), error)
    };
    let old = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", &error)),
    };
    let mut profile = match &old {
        Some(text) => serde_json::from_str::<Map<String, Value>>(text).map_err(|error| {
            Failure::new(&format!("{path} is no JSON object: {error}"))
                .hint("correct the file, or move it away")
        })?,
        None => Map::new(),
    };
    profile.insert("baseUrl".to_owned(), url.into());
    if let Some(model) = model {
        profile.insert("id".to_owned(), model.into());
    }
    if !profile.contains_key("id") {
        return Err(
            Failure::new("it is not known which model Junie is to ask for")
                .hint("--model MODEL, as the target calls it"),
        );
    }
    let kind = || "OpenAICompletion".into();
    profile.entry("apiType").or_insert_with(kind);
    let text = serde_json::to_string_pretty(&profile).expect("what was read as JSON is JSON");
    fs::create_dir_all(&directory).map_err(|error| failed("make the directory of", &error))?;
    // Whole or not at all: under another name first. Who may read a key that it holds stays.
    let new = directory.join(format!(".{NAME}.json.{}", std::process::id()));
    let written = fs::File::create_new(&new)
        .and_then(|mut file| {
            if let Ok(old) = fs::metadata(&path) {
                file.set_permissions(old.permissions())?;
            }
            writeln!(file, "{text}")
        })
        .and_then(|()| fs::rename(&new, &path));
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(failed("write", &error));
    }
    Ok(path.to_string())
}
