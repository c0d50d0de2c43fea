//! What a request says of the project that it comes from, and with which key.

use crate::harness::{Test, chmod};
use crate::message::Message;
use crate::proxy::{Proxy, call};
use crate::upstream::{Upstream, plain};

/// Returns the request that arrives when a client of this project sends these fields.
fn sent(test: &Test, project: &str, args: &[&str], fields: &str) -> Message {
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(test, project, &upstream, args);
    let answer = proxy.send(format!(
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
    ));
    assert_eq!(answer.status(), 200);
    let request = upstream.request();
    proxy.end();
    request
}

fn identity(request: &Message) -> String {
    let identity = request.field("x-memory-user-id").expect("it is there once");
    assert_eq!(request.field("x-pycharm-instance"), Some(identity));
    assert_eq!(request.field("x-source"), Some("pycharm-ai-chat"));
    identity.to_owned()
}

#[test]
fn projects_of_one_name_have_two_identities() {
    let test = Test::new();
    let mut all: Vec<String> = ["a/my.app", "b/my.app", "a/my.lib", "проект", "план"]
        .iter()
        .map(|project| identity(&sent(&test, project, &[], "")))
        .collect();
    assert!(all[0].starts_with("my-app-"), "{all:?}");
    assert!(all[3].starts_with("project-"), "{all:?}");
    // The same every time.
    assert_eq!(identity(&sent(&test, "a/my.app", &[], "")), all[0]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
}

#[test]
fn what_a_client_says_of_itself_is_replaced() {
    let test = Test::new();
    let claimed = "x-memory-user-id: other\r\nX-Memory-User-Id: another\r\nx-source: curl\r\n";
    let request = sent(&test, "shop", &[], claimed);
    assert!(identity(&request).starts_with("shop-"));
    // Not even by calling it a header of the connection.
    let request = sent(&test, "shop", &[], "Connection: x-memory-user-id\r\n");
    assert!(identity(&request).starts_with("shop-"));
}

#[test]
fn an_identity_can_be_named_and_said_in_other_headers() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    test.mkdir("shop");
    let named = call(&test, "shop", &upstream.url("")).env("SUPERMEMORY_USERNAME", "Jane Doe");
    let args = [
        "--identity-header",
        "x-sm-user-id",
        "--identity-header",
        "X-LiteLLM-End-User-ID",
    ];
    let proxy = Proxy::of(named.with_args(args));
    proxy.get("/");
    let request = upstream.request();
    assert_eq!(identity(&request), "Jane Doe");
    assert_eq!(request.field("x-sm-user-id"), Some("Jane Doe"));
    assert_eq!(request.field("x-litellm-end-user-id"), Some("Jane Doe"));
    let legacy = sent(&test, "my.app", &["--legacy-identity"], "");
    assert_eq!(identity(&legacy), "pycharm-my");
}

#[test]
fn an_identity_that_cannot_stand_in_a_header_is_refused() {
    let test = Test::new();
    test.mkdir("проект");
    let target = "http://127.0.0.1:1";
    call(&test, "проект", target)
        .with_args(["--legacy-identity"])
        .code(2)
        .stderr_has("cannot stand in a header")
        .stderr_has("hint: leave --legacy-identity out")
        .run();
    call(&test, "проект", target)
        .env("SUPERMEMORY_USERNAME", "a\nx-admin: 1")
        .code(2)
        .stderr_has("SUPERMEMORY_USERNAME cannot stand in a header")
        .run();
    call(&test, "проект", target)
        .with_args(["--identity-header", "authorization"])
        .code(2)
        .stderr_has("another meaning")
        .run();
}

#[test]
fn a_key_is_given_only_where_the_client_has_none() {
    let test = Test::new();
    let key = test.write("key", "sk-own\n");
    chmod(&key, 0o600);
    let args = ["--key-file", key.to_str().expect("UTF-8")];
    let with = |fields: &str| {
        let request = sent(&test, "shop", &args, fields);
        request.field("authorization").map(str::to_owned)
    };
    assert_eq!(with("").as_deref(), Some("Bearer sk-own"));
    assert_eq!(
        with("Authorization: Bearer \r\n").as_deref(),
        Some("Bearer sk-own")
    );
    assert_eq!(
        with("Authorization: Bearer sk-mine\r\n").as_deref(),
        Some("Bearer sk-mine")
    );
    assert_eq!(with("x-api-key: mine\r\n"), None);
    // Without a key of its own, all stays as it is.
    let request = sent(&test, "shop", &[], "Authorization: Basic abc\r\n");
    assert_eq!(request.field("authorization"), Some("Basic abc"));
    assert_eq!(sent(&test, "shop", &[], "").field("authorization"), None);
}

#[test]
fn a_key_comes_from_a_variable_or_a_file_that_holds_one() {
    let test = Test::new();
    test.mkdir("shop");
    let upstream = Upstream::says(plain("{}"));
    let keyed = call(&test, "shop", &upstream.url(""))
        .env("MY_KEY", "sk-variable")
        .with_args(["--key-env", "MY_KEY"]);
    let proxy = Proxy::of(keyed);
    proxy.get("/");
    let request = upstream.request();
    assert_eq!(request.field("authorization"), Some("Bearer sk-variable"));
    proxy.end();
    let call = || call(&test, "shop", &upstream.url(""));
    let refused = call().with_args(["--key-env", "MY_KEY"]).code(2);
    refused.stderr_has("the variable MY_KEY is not set").run();
    let refused = call().with_args(["--key-file", "gone"]).code(2);
    refused.stderr_has("failed to read gone").run();
    let empty = test.write("empty", "\n");
    let empty = empty.to_str().expect("UTF-8");
    let refused = call().with_args(["--key-file", empty]).code(2);
    refused.stderr_has("there is no key in it").run();
    let open = test.write("open", "sk-1");
    chmod(&open, 0o644);
    let proxy = Proxy::of(call().with_args(["--key-file", open.to_str().expect("UTF-8")]));
    proxy.end();
}
