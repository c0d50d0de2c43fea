//! Inputs as text: a line is an instruction, its words are letters that mean something. So seeds
//! can be written and crashes be read by a person, and whatever a mutation makes of them means
//! something as well.

/// Most instructions of an input: more of them show nothing that fewer do not.
const LINES_MAX: usize = 48;

/// Longest text of an instruction, bytes.
const TEXT_MAX: usize = 300;

/// What is left of a line.
pub(crate) struct Line<'a>(&'a [u8]);

/// Returns the instructions of an input.
pub(crate) fn lines(data: &[u8]) -> impl Iterator<Item = Line<'_>> {
    data.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .take(LINES_MAX)
        .map(Line)
}

impl<'a> Line<'a> {
    /// Takes a word, of which only the first letter counts: one of `letters`, and any other byte
    /// stands for one of them.
    pub(crate) fn letter(&mut self, letters: &[u8]) -> u8 {
        let first = self.word().first().copied().unwrap_or(letters[0]);
        if letters.contains(&first) {
            first
        } else {
            letters[usize::from(first) % letters.len()]
        }
    }

    /// Takes a word that is a digit, or stands for one.
    pub(crate) fn digit(&mut self) -> usize {
        usize::from(self.letter(b"0123456789") - b'0')
    }

    /// Takes a word that is a number, or stands for one.
    pub(crate) fn number(&mut self) -> usize {
        let word = self.word();
        let text = std::str::from_utf8(word).unwrap_or_default();
        text.parse::<u16>()
            .map_or_else(|_| word.iter().copied().map(usize::from).sum(), usize::from)
    }

    /// Takes the rest of the line.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let text = self.0.strip_prefix(b" ").unwrap_or(self.0);
        self.0 = &[];
        &text[..text.len().min(TEXT_MAX)]
    }

    fn word(&mut self) -> &'a [u8] {
        let start = self.0.iter().position(|&byte| byte != b' ');
        let rest = &self.0[start.unwrap_or(self.0.len())..];
        let end = rest.iter().position(|&byte| byte == b' ');
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.0 = rest;
        word
    }
}
