//! HTTP/1.1 as it stands on the wire.

use std::io::{self, BufRead, ErrorKind, Read};

/// A request or an answer.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// In their order, with their names as they were written.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What stands behind a body in chunks.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    /// Reads a message; `None` where the other side has ended before one.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Message>> {
        let Some(mut message) = Message::head(reader)? else {
            return Ok(None);
        };
        message.read_body(reader)?;
        Ok(Some(message))
    }

    /// Reads a head, and leaves the body to the caller.
    pub(crate) fn head(reader: &mut impl BufRead) -> io::Result<Option<Message>> {
        let Some(start) = line(reader)? else {
            return Ok(None);
        };
        let fields = fields(reader)?;
        Ok(Some(Message {
            start,
            fields,
            ..Message::default()
        }))
    }

    /// Reads the body, however its end is told.
    pub(crate) fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        if self.has("transfer-encoding", "chunked") {
            while let Some(chunk) = chunk(reader)? {
                self.body.extend(chunk);
            }
            self.trailers = fields(reader)?;
        } else if let Some(length) = self.field("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            self.body = vec![0; length];
            reader.read_exact(&mut self.body)?;
        } else if self.has("connection", "close") && self.start.starts_with("HTTP/") {
            reader.read_to_end(&mut self.body)?;
        }
        Ok(())
    }

    /// Returns what a field says, if it is there once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Returns what the fields of this name say.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let is_it = |(field, _): &&(String, String)| field.eq_ignore_ascii_case(name);
        let fields = self.fields.iter().filter(is_it);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.field(name)
            .is_some_and(|it| it.eq_ignore_ascii_case(value))
    }

    /// Returns the number in the first line of an answer.
    pub(crate) fn status(&self) -> u16 {
        let status = self.start.split(' ').nth(1);
        let status = status.and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no answer: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Reads a chunk; `None` is the last one.
pub(crate) fn chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let size = line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
    let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
    if size == 0 {
        return Ok(None);
    }
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk)?;
    assert_eq!(&chunk[size..], b"\r\n");
    chunk.truncate(size);
    Ok(Some(chunk))
}

fn fields(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.by_ref().take(65536).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8(line).map_err(io::Error::other)?;
    let text = text.strip_suffix("\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    Ok(Some(text.to_owned()))
}
