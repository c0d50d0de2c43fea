//! What to enter in an IDE, and a profile for Junie CLI.

use serde::Serialize;

use super::args::{Cli, SetupArgs};
use super::hold::holders;
use super::junie;
use super::report::{Failure, print, print_json};
use super::settings::{Settings, warn_of_filesystem};
use super::text::escape;

#[derive(Serialize)]
struct Told<'a> {
    project: &'a str,
    port: u16,
    /// For settings that ask for the server: the IDE puts `/models` and `/chat/completions` behind it.
    base_url: &'a str,
    /// For settings that ask for the whole address.
    chat_url: &'a str,
    /// The profile that was written.
    junie_profile: Option<&'a str>,
}

/// Gives the project its port, so that what is told stays true, and prints.
pub(super) fn run(cli: &Cli, args: &SetupArgs) -> Result<(), Failure> {
    let settings = Settings::resolve(&cli.global)?;
    let registry = settings.open()?;
    let is_known = warn_of_filesystem(&registry)?;
    let holders = holders(&settings, &cli.whose)?;
    let requests = holders.requests(&settings, &registry, None)?;
    let claimed = registry.claim_all(&requests);
    if !is_known {
        let _ = warn_of_filesystem(&registry);
    }
    super::serve::tell(&registry);
    let claims = claimed?;
    settings.warn_of_ephemeral(holders.config.range, &claims);
    let port = claims[0].port().get();
    let base = format!("http://127.0.0.1:{port}/v1");
    let chat = format!("{base}/chat/completions");
    let profile = if args.junie {
        Some(junie::write(
            &holders.project,
            &chat,
            args.model.as_deref(),
        )?)
    } else {
        None
    };
    let project = holders.project.as_str();
    if settings.json {
        return print_json(&Told {
            project,
            port,
            base_url: &base,
            chat_url: &chat,
            junie_profile: profile.as_deref(),
        });
    }
    let mut text = format!("Project:  {}\nBase URL: {base}\n", escape(project));
    match profile {
        Some(path) => text.push_str(&junie_text(&path)),
        None => text.push_str(&ide_text(&chat)),
    }
    print(&text)
}

fn junie_text(path: &str) -> String {
    format!(
        "\nJunie CLI: wrote {}. Start it in the project with\n\n    junie --model custom:{}\n",
        escape(path),
        junie::NAME
    )
}

/// The pages by the names that they have in these versions, as the IDE and servers document them.
fn ide_text(chat: &str) -> String {
    format!(
        "
JetBrains AI Assistant, version 2025.3 and later
    Settings | Tools | AI Assistant | Providers & API keys
    Third-party AI providers: Provider \"OpenAI-compatible\"
    URL: the base URL above. API Key: the one of your server. Test Connection, Apply.
    Then Models Assignment, on the same page.
Version 2025.2 and earlier
    Settings | Tools | AI Assistant | Models
    Third-party AI providers: Provider \"Other OpenAI-compatible service\"
Version 2026.2 and later have a page AI Completion besides, with a base URL of its own.
Without a subscription: the AI Chat window, \"Use API Key or Local Models\".

The provider's URL is, as far as it is known, a setting of the IDE and not of a project: two
projects in one IDE share it. Use one IDE (or one configuration directory) for each, or Junie CLI,
which has a setting for each project:

    portclaim interceptor setup --junie --model MODEL

Plugins that ask for the whole address (ProxyAI: Custom OpenAI)
    {chat}

Start the interceptor in the project with

    portclaim interceptor
"
    )
}
