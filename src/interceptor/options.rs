//! What holds for this program: flags, then environment, then defaults.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use portclaim::{Port, ProjectPath};

use super::args::ServeArgs;
use super::headers::IDENTITY;
use super::report::Failure;
use super::settings::{port, variable};
use super::target_url::TargetUrl;
use super::{identity, key};

/// What a proxy is made of.
pub(super) struct Options {
    pub(super) target: TargetUrl,
    pub(super) identity: String,
    pub(super) identity_value: HeaderValue,
    /// The headers that say it.
    pub(super) names: Vec<HeaderName>,
    pub(super) key: Option<HeaderValue>,
    /// A port besides the registry's.
    pub(super) port: Option<Port>,
    /// For ever, where there is none.
    pub(super) silence: Option<Duration>,
}

impl Options {
    pub(super) fn resolve(args: &ServeArgs, project: &ProjectPath) -> Result<Options, Failure> {
        let identity = who(args, project)?;
        let identity_value = identity::as_header(&identity).ok_or_else(|| {
            Failure::new("SUPERMEMORY_USERNAME cannot stand in a header")
                .hint("letters, digits and signs of ASCII can")
        })?;
        let mut names = IDENTITY.to_vec();
        names.extend(args.identity_header.iter().cloned());
        Ok(Options {
            target: target(args)?,
            identity,
            identity_value,
            names,
            key: key(args)?,
            port: port(args.port, "INTERCEPTOR_PORT")?,
            silence: Some(args.idle_timeout).filter(|limit| !limit.is_zero()),
        })
    }
}

fn who(args: &ServeArgs, project: &ProjectPath) -> Result<String, Failure> {
    if let Some(name) = variable("SUPERMEMORY_USERNAME") {
        return Ok(name.to_string_lossy().into_owned());
    }
    if !args.legacy_identity {
        return Ok(identity::of_project(project));
    }
    identity::legacy(project).ok_or_else(|| {
        Failure::new("the project's name cannot stand in a header, and the Python interceptor failed with it")
            .hint("leave --legacy-identity out, or set SUPERMEMORY_USERNAME")
    })
}

fn target(args: &ServeArgs) -> Result<TargetUrl, Failure> {
    if let Some(target) = &args.target {
        return Ok(target.clone());
    }
    let Some(text) = variable("TARGET_LLM_URL") else {
        return Ok(TargetUrl::default());
    };
    text.to_string_lossy().parse().map_err(|why| {
        Failure::new(&format!("TARGET_LLM_URL is no address of a server: {why}"))
            .hint("set it to an address such as http://localhost:4000, or use --target")
    })
}

fn key(args: &ServeArgs) -> Result<Option<HeaderValue>, Failure> {
    if let Some(path) = &args.key_file {
        return key::of_file(path).map(Some);
    }
    let Some(name) = &args.key_env else {
        return Ok(None);
    };
    let Some(key) = variable(name) else {
        return Err(
            Failure::new(&format!("the variable {name} is not set")).hint("it holds the key")
        );
    };
    key::authorization(&key.to_string_lossy(), name).map(Some)
}
