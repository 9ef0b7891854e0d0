//! A Redis server of one's own, and connections to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use standin_resp::Version;

/// How long it may take a server to answer at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a directory of its own; ended when this goes.
pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one, if it is installed.
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket", "socket"])
            .arg("--dir")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .current_dir(folder.path())
            .spawn()
            .ok()?;
        let server = Self { child, folder };
        let mut connection = server.connect(Version::Resp2);
        let info = connection.ask(&[b"INFO".to_vec(), b"server".to_vec()]);
        let info = String::from_utf8_lossy(&info).into_owned();
        assert!(
            info.contains("redis_version:7."),
            "the server is no Redis 7: {info}"
        );
        Some(server)
    }

    /// A new connection.
    pub(crate) fn connect(&self, version: Version) -> Connection {
        let begin = Instant::now();
        let path = self.folder.path().join("socket");
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "no server: {error}"),
            }
            std::thread::yield_now();
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let input = BufReader::new(stream.try_clone().unwrap());
        let mut connection = Connection {
            output: stream,
            input,
        };
        if version == Version::Resp3 {
            connection.ask(&[b"HELLO".to_vec(), b"3".to_vec()]);
        }
        connection
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One connection.
pub(crate) struct Connection {
    output: UnixStream,
    input: BufReader<UnixStream>,
}

impl Connection {
    /// Sends a request and waits for the bytes of its reply.
    pub(crate) fn ask(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend(format!("${}\r\n", arg.len()).into_bytes());
            request.extend(arg);
            request.extend(b"\r\n");
        }
        self.output.write_all(&request).unwrap();
        let mut reply = Vec::new();
        self.read(&mut reply);
        reply
    }

    fn read(&mut self, reply: &mut Vec<u8>) {
        let start = reply.len();
        let length = self.input.read_until(b'\n', reply).unwrap();
        assert!(length >= 3, "the server has closed the connection");
        let line = &reply[start..reply.len() - 2];
        let number = || -> i64 { std::str::from_utf8(&line[1..]).unwrap().parse().unwrap() };
        match line[0] {
            b'$' | b'=' | b'!' if number() >= 0 => {
                let length = usize::try_from(number()).unwrap() + 2;
                let start = reply.len();
                reply.resize(start + length, 0);
                self.input.read_exact(&mut reply[start..]).unwrap();
            }
            b'*' | b'~' | b'>' => (0..number()).for_each(|_| self.read(reply)),
            b'%' => (0..2 * number()).for_each(|_| self.read(reply)),
            _ => {}
        }
    }
}
