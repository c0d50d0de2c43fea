//! `portclaim-interceptor setup`, and how `portclaim interceptor` hands over.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::Test;
use crate::proxy::PROGRAM;

#[test]
fn it_tells_what_to_enter_for_a_port_that_stays() {
    let test = Test::new();
    test.mkdir("shop");
    let port = test.port(0);
    let told = test
        .program(PROGRAM)
        .cwd("shop")
        .with_args(["setup"])
        .stdout_has(format!("Base URL: http://127.0.0.1:{port}/v1\n"))
        .stdout_has(format!("http://127.0.0.1:{port}/v1/chat/completions"))
        .stdout_has("Providers & API keys");
    told.run();
    test.assert_shows("shop", port);
    let told = test
        .program(PROGRAM)
        .with_args(["setup", "--project", "shop", "--json"])
        .json();
    assert_eq!(told["port"], port);
    assert_eq!(told["base_url"], format!("http://127.0.0.1:{port}/v1"));
    assert!(told["junie_profile"].is_null());
}

#[test]
fn what_goes_with_every_call_may_stand_in_front_and_how_it_serves_nowhere() {
    let test = Test::new();
    test.mkdir("shop");
    let setup = |args: &[&str]| test.program(PROGRAM).with_args(args);
    let project = test.path("shop");
    let project = project.to_str().expect("UTF-8");
    for args in [
        ["--json", "--project", project, "setup"],
        ["--project", project, "setup", "--json"],
        ["setup", "--json", "--project", project],
    ] {
        let told = setup(&args).json();
        assert_eq!(told["project"], "[HOME]/shop", "{args:?}");
        assert_eq!(told["port"], test.port(0));
    }
    for (flag, value) in [("--target", "http://x"), ("--idle-timeout", "10m")] {
        let refused = setup(&[flag, value, "setup"]).code(2);
        let refused = refused.stderr_has(format!("the argument '{flag} <"));
        refused.stderr_has("cannot be used with 'setup'").run();
        setup(&["setup", flag, value]).code(2).any_stderr().run();
    }
    setup(&["--log", "setup"]).code(2).any_stderr().run();
}

#[test]
fn a_profile_for_junie_is_written_and_kept() {
    let test = Test::new();
    test.mkdir("shop");
    let profile = "shop/.junie/models/portclaim.json";
    let url = format!("http://127.0.0.1:{}/v1/chat/completions", test.port(0));
    let setup = |args: &[&'static str]| {
        let call = test.program(PROGRAM).cwd("shop");
        call.with_args(["setup", "--junie"]).with_args(args)
    };
    setup(&[]).code(2).stderr_has("--model MODEL").run();
    let told = setup(&["--model", "gpt-x"]).stdout_has("junie --model custom:portclaim");
    told.run();
    let read = || serde_json::from_slice::<Value>(&test.read(profile)).expect("it is JSON");
    let fresh = json!({"apiType": "OpenAICompletion", "baseUrl": url, "id": "gpt-x"});
    assert_eq!(read(), fresh);
    // What the user wrote into it stays.
    let edited =
        json!({"apiType": "OpenAIResponses", "baseUrl": "x", "id": "o", "temperature": 0.5});
    // It may hold a key, which nobody else is to read.
    crate::harness::chmod(&test.write(profile, edited.to_string()), 0o600);
    setup(&[]).any_stdout().run();
    let mode = std::fs::metadata(test.path(profile)).expect("it is there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let kept = json!({"apiType": "OpenAIResponses", "baseUrl": url, "id": "o", "temperature": 0.5});
    assert_eq!(read(), kept);
    test.write(profile, "no json");
    let refused = setup(&[])
        .code(2)
        .stderr_has("portclaim.json is no JSON object");
    refused.run();
    assert_eq!(test.text(profile), "no json");
}

#[test]
fn the_command_line_hands_over() {
    let test = Test::new();
    test.mkdir("shop");
    let registry = test.path("other/registry.json");
    let registry = registry.to_str().expect("UTF-8");
    // Wherever the flags of every command stand.
    for args in [
        &[
            "--registry",
            registry,
            "interceptor",
            "setup",
            "--project",
            "shop",
            "--json",
        ][..],
        &[
            "interceptor",
            "--json",
            "--registry",
            registry,
            "setup",
            "--project",
            "shop",
        ],
        &[
            "interceptor",
            "setup",
            "--project",
            "shop",
            "--json",
            "--registry",
            registry,
        ],
    ] {
        let told = test.args(args).json();
        assert_eq!(told["project"], "[HOME]/shop");
    }
    assert!(test.path("other/registry.json").exists());
    assert!(!test.registry().exists());
    let help = test.args(["interceptor", "--help"]);
    help.stdout_has("Usage: portclaim-interceptor").run();
}

#[test]
fn where_it_is_not_installed_that_is_said() {
    let test = Test::new();
    let alone = test.path("alone");
    std::fs::copy(crate::harness::BINARY, &alone).expect("it can be copied");
    let call = test.program(alone.to_str().expect("UTF-8"));
    call.env("PATH", "/nonexistent")
        .with_args(["interceptor"])
        .code(127)
        .stderr_has("failed to run portclaim-interceptor")
        .stderr_has("hint: cargo install portclaim --features interceptor")
        .run();
}
