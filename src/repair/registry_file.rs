//! Whether the registry file shows the claims.

use super::{FindingKind, Report};
use crate::error::Result;
use crate::index::{self, Document, IndexFile, Loaded};
use crate::place::{Place, open_root};
use crate::protocol::marks;
use crate::registry::Registry;

/// Looks at the registry file beside the claims.
pub(super) fn check(registry: &Registry, place: &Place, report: &mut Report) -> Result<()> {
    let path = registry.index_path();
    let file = IndexFile {
        root: &place.root,
        name: registry.file_name(),
    };
    let document = match file.load()? {
        Loaded::Missing => {
            if !index::present(&place.store.ports)?.is_empty() {
                report.add(FindingKind::StaleIndex, path, "it does not exist");
            }
            return Ok(());
        }
        Loaded::Damaged(damage, _) => {
            report.add(FindingKind::DamagedIndex, path, damage.to_string());
            return Ok(());
        }
        Loaded::Sound(document, _) => document,
    };
    for kept in document.kept() {
        report.add(
            FindingKind::UnusableEntry,
            path.clone(),
            format!("the entry {} is no claim: {}", kept.key, kept.why),
        );
    }
    let marked = marks(&place.store.index)?;
    let mut expected = document.clone();
    let turn = (None, registry.range());
    index::update_fully(&mut expected, &place.store, &marked, turn)?;
    if !document.is_ours() {
        report.add(FindingKind::StaleIndex, path, not_taken_over(&document));
    } else if expected != document {
        report.add(
            FindingKind::StaleIndex,
            path,
            "it does not show the claims as they are",
        );
    } else if !marked.is_empty() {
        let detail = format!("{} changes were not followed by a refresh", marked.len());
        report.add(FindingKind::StaleIndex, path, detail);
    }
    Ok(())
}

/// Where there is a registry file and not all of the directories.
pub(super) fn check_alone(registry: &Registry, report: &mut Report) -> Result<()> {
    let Some(root) = open_root(registry.root())? else {
        return Ok(());
    };
    let file = IndexFile {
        root: &root,
        name: registry.file_name(),
    };
    let path = registry.index_path();
    match file.load()? {
        Loaded::Missing => {}
        Loaded::Damaged(damage, _) => {
            report.add(FindingKind::DamagedIndex, path, damage.to_string());
        }
        Loaded::Sound(document, _) => {
            report.add(FindingKind::StaleIndex, path, not_taken_over(&document));
        }
    }
    Ok(())
}

fn not_taken_over(document: &Document) -> String {
    let count = document.mappings().count();
    format!("portclaim has not taken over its {count} mappings")
}
