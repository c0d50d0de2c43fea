//! `portclaim allocate --follow-git`: tells of a repository that was moved.

use portclaim::{Claim, ErrorKind, Followed, Former, ProjectPath, Registry, Repository};

use super::claims::ports;
use super::report::{Failure, warning};
use super::target::Holders;
use super::text::{escape, word};

/// Gives the project the ports that it had elsewhere, if it lacks one of those that are asked for.
pub(super) fn before(registry: &Registry, holders: &Holders) -> Result<(), Failure> {
    let mut has_all = true;
    for holder in &holders.all {
        has_all &= registry.find(holder)?.is_some();
    }
    if has_all {
        return Ok(());
    }
    let project = &holders.project;
    if let Err(error) = Repository::of(project) {
        return Err(Failure::from(error).hint(
            "so it is not known whether it was moved here; portclaim allocate without --follow-git gives it ports of its own",
        ));
    }
    let followed = registry.follow_git(project).map_err(|error| {
        let is_taken = error.kind() == ErrorKind::HasAnother;
        let failure = Failure::from(error);
        if is_taken {
            failure.hint(
                "nothing was moved: it has ports from before and from elsewhere for one service; portclaim list \
                 shows them, portclaim remove gives back what is not needed",
            )
        } else {
            failure
        }
    })?;
    match followed {
        Followed::Moved { from, records } => {
            warning(
                &format!(
                    "{} was moved to {}, and its ports with it: {}",
                    escape(from.as_str()),
                    escape(project.as_str()),
                    ports(&records)
                ),
                None,
            );
            Ok(())
        }
        Followed::Unsure(formers) => Err(unsure(project, &formers)),
        _ => Ok(()),
    }
}

fn unsure(project: &ProjectPath, formers: &[Former]) -> Failure {
    let old = match formers {
        [one] => one.project.as_str(),
        _ => "OLD",
    };
    let hint = format!(
        "if it was moved: portclaim move {} {}; if not, portclaim allocate without --follow-git gives it ports of its own",
        word(old),
        word(project.as_str())
    );
    let place = |former: &Former| match &former.why {
        None => former.project.to_string(),
        Some(why) => format!("{} ({why})", former.project),
    };
    let places: Vec<String> = formers.iter().map(place).collect();
    let text = match formers {
        [
            Former {
                project: old,
                why: Some(why),
                ..
            },
        ] => format!("it is not sure that {project} was moved here from {old}: {why}"),
        _ => format!(
            "the repository of {project} was at more than one place: {}",
            places.join(", ")
        ),
    };
    Failure::no(&text).hint(&hint)
}

/// Warns where the project could not be followed the next time. It has its ports, whatever is met here.
pub(super) fn after(project: &ProjectPath, claims: &[Claim]) {
    let name = escape(project.as_str());
    let unknown = |text: &str| {
        warning(
            text,
            Some("portclaim move OLD NEW moves the ports of any project"),
        );
    };
    let now = match Repository::of(project) {
        Ok(Some(now)) => now,
        Ok(None) => {
            return unknown(&format!(
                "{name} is in no git repository that could be known again after a move"
            ));
        }
        Err(error) => {
            let why = error
                .io_error()
                .map_or(String::new(), |why| format!(": {why}"));
            let text =
                format!("it cannot be told in which git repository {project} is: {error}{why}");
            return unknown(&escape(&text));
        }
    };
    let is_other = |claim: &&Claim| claim.record().repository() != Some(&now);
    if let Some(claim) = claims.iter().find(is_other) {
        let port = claim.port();
        warning(
            &format!(
                "{name} was not in this git repository when it was given port {port}: it is not known again after a move"
            ),
            Some(&format!(
                "portclaim remove, and then portclaim allocate --port {port}, notes it; portclaim move OLD NEW \
                 moves the ports of any project"
            )),
        );
    }
}
