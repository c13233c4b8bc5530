//! A PostgreSQL server of a test's own: in a temporary folder, on a loopback address and a free port, gone when dropped.
//!
//! Feature `test-server`; for tests only. PostgreSQL runs as nobody with rights: started by root, it runs as user
//! `postgres` or `nobody`. What `initdb` makes is kept as a template beside the temporary folders, so that a server is
//! there in a fraction of a second.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// A server.
#[derive(Debug)]
pub struct TestServer {
    programs: PathBuf,
    folder: tempfile::TempDir,
    user: Option<&'static str>,
    port: u16,
    child: Option<Child>,
    databases: AtomicU32,
}

impl TestServer {
    /// Starts a server; `None` if PostgreSQL is not installed. It does not wait for the disk: a server that is killed
    /// keeps what it has committed, a machine that loses power may not.
    ///
    /// # Errors
    /// What kept an installed server from starting.
    ///
    /// ```no_run
    /// use tollway_ledger::{Ledger, PostgresLedger, TestServer};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(server) = TestServer::start_new().await? {
    ///     let ledger = PostgresLedger::connect(&server.database().await?).await?;
    ///     assert_eq!(ledger.reservation_count().await?, 0);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_new() -> io::Result<Option<Self>> {
        let Some(programs) = installed() else { return Ok(None) };
        let user = unprivileged()?;
        let template = template(&programs, user)?;
        let folder = tempfile::Builder::new().prefix("tollway-postgres-").tempdir()?;
        own(folder.path(), user)?;
        let data = folder.path().join("data");
        succeed(as_user(user, Path::new("cp")).arg("-R").arg(&template).arg(&data))?;
        let port = TcpListener::bind((own_loopback(), 0))?.local_addr()?.port();
        let databases = AtomicU32::new(0);
        let mut server = Self { programs, folder, user, port, child: None, databases };
        server.start().await?;
        Ok(Some(server))
    }

    /// The URL of the server's first database.
    ///
    /// ```no_run
    /// # fn shown(server: &tollway_ledger::TestServer) {
    /// assert!(server.url().starts_with("postgres://postgres@127."));
    /// # }
    /// ```
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of a new, empty database.
    ///
    /// # Errors
    /// What the server answered.
    ///
    /// ```no_run
    /// # async fn two(server: &tollway_ledger::TestServer) -> std::io::Result<()> {
    /// assert_ne!(server.database().await?, server.database().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn database(&self) -> io::Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let mut connection = PgConnection::connect(&self.url()).await.map_err(io::Error::other)?;
        let create = sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")));
        create.execute(&mut connection).await.map_err(io::Error::other)?;
        Ok(self.url_of(&name))
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@{}:{}/{database}?sslmode=disable", own_loopback(), self.port)
    }

    /// Starts it, again after [`Self::stop`], on the same port with the same data; returns when it answers.
    ///
    /// # Errors
    /// The program did not start, or did not answer in time.
    ///
    /// ```no_run
    /// # async fn restart(server: &mut tollway_ledger::TestServer) -> std::io::Result<()> {
    /// server.stop()?;
    /// server.start().await
    /// # }
    /// ```
    pub async fn start(&mut self) -> io::Result<()> {
        let log = File::create(self.folder.path().join("log"))?;
        let mut command = as_user(self.user, &self.programs.join("postgres"));
        command.arg("-D").arg(self.folder.path().join("data"));
        command.args(["-p", &self.port.to_string(), "-h", &own_loopback().to_string(), "-F"]);
        for setting in ["unix_socket_directories=", "max_connections=200", "shared_buffers=32MB"] {
            command.args(["-c", setting]);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        self.child = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        let answers = async {
            while PgConnection::connect(&self.url()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let late = tokio::time::timeout(START, answers).await;
        late.map_err(|_| {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            io::Error::other(format!("PostgreSQL did not start: {log}"))
        })
    }

    /// Stops it at once, as a crash does: connections break, nothing is tidied up.
    ///
    /// # Errors
    /// It could not be told to, or did not end.
    ///
    /// ```no_run
    /// # fn crash(server: &mut tollway_ledger::TestServer) -> std::io::Result<()> {
    /// server.stop()
    /// # }
    /// ```
    pub fn stop(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // The server's own process: the program that changed the user has become it.
        succeed(Command::new("kill").args(["-QUIT", &child.id().to_string()]))?;
        child.wait().map(drop)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let stopped = self.stop();
        if let Err(error) = stopped {
            tracing::warn!(%error, "a test's PostgreSQL server was not stopped");
        }
    }
}

/// A loopback address that no other process takes ports of, so that a server that ends and starts again finds its port
/// free. Only Linux has more than one without being told.
///
/// ```
/// assert!(tollway_ledger::own_loopback().is_loopback());
/// ```
pub fn own_loopback() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Process numbers have 22 bits at most: this is between 127.64.0.1 and 127.127.255.255.
    if cfg!(target_os = "linux") { Ipv4Addr::new(127, 64 | high, middle, low) } else { Ipv4Addr::LOCALHOST }
}

/// The folder with PostgreSQL's programs.
fn installed() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.push("/usr/local/bin".into());
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// The user to run it as, if this is root.
fn unprivileged() -> io::Result<Option<&'static str>> {
    let id = |user: &[&str]| -> io::Result<Option<String>> {
        let output = Command::new("id").arg("-u").args(user).stderr(Stdio::null()).output()?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    if id(&[])?.as_deref() != Some("0") {
        return Ok(None);
    }
    for user in ["postgres", "nobody"] {
        if id(&[user])?.is_some() {
            return Ok(Some(user));
        }
    }
    Err(io::Error::other("PostgreSQL does not run as root, and there is no user postgres or nobody"))
}

/// A command that becomes `program`, as `user`.
fn as_user(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--clear-groups", "--"]).arg(program);
    command
}

fn own(folder: &Path, user: Option<&str>) -> io::Result<()> {
    match user {
        Some(user) => succeed(Command::new("chown").arg(user).arg(folder)),
        None => Ok(()),
    }
}

/// A folder as `initdb` makes it, made by the first who asks on this machine; the others wait for it.
fn template(programs: &Path, user: Option<&str>) -> io::Result<PathBuf> {
    let output = Command::new(programs.join("postgres")).arg("--version").output()?;
    let version: String =
        String::from_utf8_lossy(&output.stdout).chars().filter(char::is_ascii_digit).collect();
    let owner = user.map_or_else(|| std::env::var("USER").unwrap_or_default(), str::to_owned);
    let folder = std::env::temp_dir().join(format!("tollway-postgres-template-{version}-{owner}"));
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    own(&folder, user)?;
    let data = folder.join("data");
    if !data.join("PG_VERSION").exists() || folder.join("unfinished").exists() {
        let _ = fs::remove_dir_all(&data);
        File::create(folder.join("unfinished"))?;
        let mut initdb = as_user(user, &programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]);
        succeed(initdb.current_dir(&folder))?;
        fs::remove_file(folder.join("unfinished"))?;
    }
    Ok(data)
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {told}")))
}
