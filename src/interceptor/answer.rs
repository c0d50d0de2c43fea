//! What this program itself has to say to a client.

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::body::Answer;

/// Why a request was not passed on, or came to nothing: a status, a word for programs, and a
/// sentence for people.
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Trouble {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Trouble {
        Trouble {
            status,
            code,
            message: message.into(),
        }
    }

    /// Returns the answer, in the shape that clients of `OpenAI` read.
    pub(super) fn answer(&self) -> Response<Answer> {
        #[derive(Serialize)]
        struct Outer<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            r#type: &'a str,
            param: Option<&'a str>,
            code: &'a str,
        }
        let error = Inner {
            message: &self.message,
            r#type: "interceptor_error",
            param: None,
            code: self.code,
        };
        json(self.status, &Outer { error })
    }
}

/// Returns an answer in JSON.
pub(super) fn json(status: StatusCode, data: &impl Serialize) -> Response<Answer> {
    let text = serde_json::to_string(data).expect("strings and numbers are valid JSON");
    text_of(status, "application/json", text)
}

/// Returns an answer of any kind.
pub(super) fn text_of(status: StatusCode, kind: &'static str, text: String) -> Response<Answer> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
