//! Lines to something that may take half of one.

use std::io;

/// A line that was begun.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Its alert's number, and what is left of it.
    rest: Option<(u64, Vec<u8>)>,
    /// The alert whose line was ended since.
    ended: Option<u64>,
}

impl Begun {
    /// Writes a line, after the rest of the one before: another's beginning would be glued to it.
    pub(super) fn write(
        &mut self,
        seq: u64,
        line: &[u8],
        write: &mut dyn FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if let Some((begun, rest)) = self.rest.take() {
            self.all(begun, &rest, true, write)?;
            self.ended = (begun > 0).then_some(begun);
        }
        if self.ended.take_if(|ended| *ended == seq).is_some() {
            return Ok(());
        }
        self.all(seq, line, false, write)
    }

    /// The other end is another one now: what was begun is not there.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn all(
        &mut self,
        seq: u64,
        line: &[u8],
        begun: bool,
        write: &mut dyn FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut written = 0;
        while written < line.len() {
            let error = match write(&line[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    written += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if begun || written > 0 {
                self.rest = Some((seq, line[written..].to_vec()));
            }
            return Err(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_line_is_ended_before_any_other_and_not_written_again() {
        let mut begun = Begun::default();
        let mut out = Vec::new();
        let mut room = 3;
        let mut put = |begun: &mut Begun, seq, line: &[u8], more| {
            room += more;
            begun.write(seq, line, &mut |bytes| {
                let count = bytes.len().min(room);
                room -= count;
                out.extend_from_slice(&bytes[..count]);
                if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
            })
        };
        assert!(put(&mut begun, 1, b"first\n", 0).is_err());
        assert!(put(&mut begun, 2, b"urgent\n", 1).is_err());
        assert!(put(&mut begun, 2, b"urgent\n", 100).is_ok());
        assert!(put(&mut begun, 1, b"first\n", 0).is_ok());
        assert!(put(&mut begun, 3, b"last\n", 0).is_ok());
        assert_eq!(out, b"first\nurgent\nlast\n");
    }
}
