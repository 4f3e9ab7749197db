//! What the standard descriptors of a process are, as /proc shows them.

use std::io;
use std::os::unix::fs::FileTypeExt;

use crate::event::Stdio;

/// Tables of the sockets of the Internet's families, by the network namespace of the process.
const INET: [&str; 8] = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "udplite", "udplite6"];
/// Where a line of these has the socket's inode.
const INODE: usize = 9;

/// Input, output and errors of the process.
pub(super) fn read(pid: u32) -> [Stdio; 3] {
    [0, 1, 2].map(|descriptor| one(pid, descriptor))
}

fn one(pid: u32, descriptor: u32) -> Stdio {
    let path = format!("/proc/{pid}/fd/{descriptor}");
    let kind = match std::fs::metadata(&path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Stdio::Closed,
        Err(_) => return Stdio::Unknown,
    };
    if kind.is_fifo() {
        Stdio::Pipe
    } else if kind.is_char_device() {
        Stdio::Char
    } else if kind.is_socket() {
        let link = std::fs::read_link(&path).unwrap_or_default();
        let link = link.to_string_lossy();
        match link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            Some(inode) if is_inet(pid, inode) => Stdio::Inet,
            _ => Stdio::Socket,
        }
    } else {
        Stdio::File
    }
}

fn is_inet(pid: u32, inode: &str) -> bool {
    INET.iter().any(|table| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| line.split_whitespace().nth(INODE) == Some(inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio as Given};

    #[test]
    fn descriptors_of_a_process_are_told_apart_and_closed_when_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _other) = UnixStream::pair().unwrap();
        let sleep = |input: Given, output: Given, errors: Given| {
            Command::new("sleep").arg("60").stdin(input).stdout(output).stderr(errors).spawn().unwrap()
        };
        let mut plain =
            sleep(Given::null(), Given::piped(), Given::from(std::fs::File::open("/etc/passwd").unwrap()));
        assert_eq!(read(plain.id()), [Stdio::Char, Stdio::Pipe, Stdio::File]);
        let mut driven =
            sleep(Given::from(OwnedFd::from(far)), Given::from(OwnedFd::from(near)), Given::null());
        assert_eq!(read(driven.id()), [Stdio::Inet, Stdio::Socket, Stdio::Char]);
        for child in [&mut plain, &mut driven] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(read(driven.id()), [Stdio::Closed; 3]);
    }
}
