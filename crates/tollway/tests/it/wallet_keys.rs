//! Keys by the program: made, imported, listed, shown, used from wherever they are, and told to nobody.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollway_devnet::ACCOUNTS;
use tollway_evm::{LocalSigner, Signer};

use crate::market::Market;
use crate::node::{Kind, Node};
use crate::process::{tollway, tool};

const PASSWORD: &str = "correct horse, ä battery";
/// A key that is nobody else's in these tests, so that it can be looked for in what is printed.
const KEY: &str = "c0ffee0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2";

/// A user's own folder.
struct Home(TempDir);

/// What a program did.
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn keys(&self) -> PathBuf {
        self.0.path().join("data/tollway/keys")
    }

    /// The program with this home and no key, password or terminal but what a test gives it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tollway();
        command.args(arguments).env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin");
        command.env("XDG_DATA_HOME", self.0.path().join("data")).env("TOLLWAY_PASSWORD", PASSWORD);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments), "")
    }

    /// The one JSON object that a command prints.
    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.stderr);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// A key in the folder.
    fn import(&self, name: &str, key: &str) -> Value {
        let done = finish(self.command(&["wallet", "import", name, "--light", "--json"]), key);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn finish(mut command: Command, stdin: &str) -> Done {
    command.env_remove("TOLLWAY_KEY_DIR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever fails before reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Done { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The same away from this thread: a server that it asks runs here.
async fn finish_aside(command: Command) -> Done {
    tokio::task::spawn_blocking(move || finish(command, "")).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_key_is_an_encrypted_file_that_its_owner_alone_can_read() {
    let home = Home::new();
    let made = home.json(&["wallet", "new", "agent", "--json"]);
    let (address, file) = (made["address"].as_str().unwrap(), Path::new(made["file"].as_str().unwrap()));
    assert_eq!((file, mode(file), mode(&home.keys())), (home.keys().join("agent").as_path(), 0o600, 0o700));
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((&stored["version"], &stored["crypto"]["kdfparams"]["n"]), (&json!(3), &json!(262_144)));
    assert_eq!(home.json(&["wallet", "address", "agent", "--json"])["address"], address);
    assert_eq!(home.json(&["wallet", "address", "agent", "--check", "--json"])["address"], address);
    let listed = home.json(&["wallet", "list", "--json"]);
    assert_eq!(listed["keys"], json!([{ "name": "agent", "address": address, "file": file }]));
    // Without a name it has the one that geth would give it.
    let unnamed = home.json(&["wallet", "new", "--light", "--json"]);
    let name = unnamed["name"].as_str().unwrap();
    let digits = unnamed["address"].as_str().unwrap()[2..].to_lowercase();
    assert!(name.starts_with("UTC--20") && name.ends_with(&format!("Z--{digits}")), "{name}");
    // Nothing that was written on the way is left.
    assert_eq!(std::fs::read_dir(home.keys()).unwrap().count(), 2);
}

#[test]
fn a_key_is_never_overwritten_and_is_not_there_twice() {
    let home = Home::new();
    home.import("agent", KEY);
    let before = std::fs::read(home.keys().join("agent")).unwrap();
    for (arguments, stdin, word) in [
        (vec!["wallet", "new", "agent", "--light"], "", "never overwritten"),
        (vec!["wallet", "import", "agent", "--light"], &"11".repeat(32)[..], "never overwritten"),
        (vec!["wallet", "import", "other", "--light"], KEY, "is there already"),
        (vec!["wallet", "new", "../agent", "--light"], "", "the name of a key"),
        (vec!["wallet", "new", ".agent", "--light"], "", "the name of a key"),
    ] {
        let done = finish(home.command(&arguments), stdin);
        assert!(done.code == Some(1) && done.stderr.contains(word), "{arguments:?}: {}", done.stderr);
    }
    assert_eq!(std::fs::read(home.keys().join("agent")).unwrap(), before);
    assert_eq!(std::fs::read_dir(home.keys()).unwrap().count(), 1);
    // Who else may write there could put keys of their own.
    std::fs::set_permissions(home.keys(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let done = home.run(&["wallet", "new", "second", "--light"]);
    assert!(done.code == Some(1) && done.stderr.contains("chmod 700"), "{}", done.stderr);
}

#[test]
fn a_key_comes_from_standard_input_the_environment_a_file_or_another_program() {
    let address = LocalSigner::from_hex(KEY).unwrap().address().to_string();
    for from in ["-", "env:A_KEY", "file:", "keystore:", "json on stdin"] {
        let home = Home::new();
        let hex = home.write("hex", &format!("0x{KEY}\n"));
        let elsewhere = Home::new();
        let foreign = elsewhere.import("foreign", KEY)["file"].as_str().unwrap().to_owned();
        let (source, stdin) = match from {
            "file:" => (format!("file:{hex}"), String::new()),
            "keystore:" => (format!("keystore:{foreign}"), String::new()),
            "json on stdin" => ("-".to_owned(), std::fs::read_to_string(&foreign).unwrap()),
            "-" => ("-".to_owned(), format!("0x{KEY}\n")),
            other => (other.to_owned(), String::new()),
        };
        let mut command =
            home.command(&["wallet", "import", "agent", "--light", "--json", "--from", &source]);
        let old = elsewhere.write("old", &format!("{PASSWORD}\r\n"));
        command.args(["--from-password", &format!("file:{old}")]).env("A_KEY", KEY);
        command.env("TOLLWAY_PASSWORD", "a new one");
        let done = finish(command, &stdin);
        assert_eq!(done.code, Some(0), "{from}: {}", done.stderr);
        let object: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(object["address"], address, "{from}");
        let mut command = home.command(&["wallet", "export", "--key", "agent", "--yes"]);
        command.env("TOLLWAY_PASSWORD", "a new one");
        assert_eq!(finish(command, "").stdout, format!("0x{KEY}\n"), "{from}");
    }
}

#[test]
fn a_key_is_shown_to_who_says_so_and_has_the_password() {
    let home = Home::new();
    home.import("agent", KEY);
    let done = home.run(&["wallet", "export", "--key", "agent"]);
    assert!(
        done.code == Some(1) && done.stdout.is_empty() && done.stderr.contains("--yes"),
        "{}",
        done.stderr
    );
    let mut command = home.command(&["wallet", "export", "--key", "agent", "--yes"]);
    command.env("TOLLWAY_PASSWORD", "wrong");
    let done = finish(command, "");
    assert!(
        done.stdout.is_empty() && done.stderr.contains("keystore:agent: the password is wrong"),
        "{}",
        done.stderr
    );
    let mut command = home.command(&["wallet", "export", "--key", "agent", "--yes"]);
    command.env_remove("TOLLWAY_PASSWORD");
    let done = finish(command, "");
    assert!(
        done.stdout.is_empty() && done.stderr.contains("there is no terminal to ask at"),
        "{}",
        done.stderr
    );
    let account = LocalSigner::from_hex(KEY).unwrap().address().to_string();
    let path = home.keys().join("agent");
    for name in ["agent", "keystore:agent", &account, path.to_str().unwrap()] {
        let object = home.json(&["wallet", "export", "--key", name, "--yes", "--json"]);
        assert_eq!(object, json!({ "address": account, "key": format!("0x{KEY}") }), "{name}");
    }
    let file = home.write("password", PASSWORD);
    let mut command = home.command(&["wallet", "export", "--key", "agent", "--yes", "--password"]);
    command.arg(format!("file:{file}")).env("TOLLWAY_PASSWORD", "not asked");
    assert_eq!(finish(command, "").code, Some(0));
}

#[test]
fn a_hostile_keystore_costs_nothing() {
    let home = Home::new();
    home.import("agent", KEY);
    let path = home.keys().join("agent");
    let good: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (name, value) in [("n", json!(1u64 << 40)), ("r", json!(1u64 << 31)), ("p", json!(1u64 << 31))] {
        let mut hostile = good.clone();
        hostile["crypto"]["kdfparams"][name] = value;
        std::fs::write(&path, hostile.to_string()).unwrap();
        let done = home.run(&["wallet", "export", "--key", "agent", "--yes"]);
        let field = format!("crypto.kdfparams.{name}");
        assert!(done.code == Some(1) && done.stderr.contains(&field), "{}", done.stderr);
        assert_eq!(home.json(&["wallet", "list", "--json"])["keys"], json!([]));
    }
    std::fs::write(&path, "x".repeat(1024 * 1024)).unwrap();
    let done = home.run(&["wallet", "address", "agent"]);
    assert!(done.stderr.contains("longer than 16384 bytes"), "{}", done.stderr);
}

#[test]
fn a_foreign_program_reads_our_files_and_we_read_its() {
    let Some(python) = tool("TOLLWAY_PYTHON") else { return };
    let home = Home::new();
    let address = LocalSigner::from_hex(KEY).unwrap().address().to_string();
    let ours = home.import("agent", KEY)["file"].as_str().unwrap().to_owned();
    let program = "import json, sys\n\
                   from eth_account import Account\n\
                   ours, password, key, folder = sys.argv[1:]\n\
                   assert bytes(Account.decrypt(json.load(open(ours)), password)).hex() == key\n\
                   for kdf, work in (('scrypt', 8192), ('pbkdf2', 10000)):\n\
                   \x20   made = Account.encrypt(key, password, kdf=kdf, iterations=work)\n\
                   \x20   json.dump(made, open(folder + '/' + kdf, 'w'))\n\
                   del made['address']\n\
                   json.dump(made, open(folder + '/anonymous', 'w'))\n";
    let folder = home.0.path().to_str().unwrap();
    let output = Command::new(python).args(["-c", program, &ours, PASSWORD, KEY, folder]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["scrypt", "pbkdf2", "anonymous"] {
        let file = format!("{folder}/{file}");
        assert_eq!(
            home.json(&["wallet", "address", &file, "--check", "--json"])["address"],
            address,
            "{file}"
        );
    }
    // One that does not say whose it is, as Foundry writes them, is listed all the same.
    std::fs::copy(format!("{folder}/anonymous"), home.keys().join("foundry")).unwrap();
    let listed = home.json(&["wallet", "list", "--json"]);
    assert_eq!(
        (&listed["keys"][1]["name"], &listed["keys"][1]["address"]),
        (&json!("foundry"), &Value::Null)
    );
    assert_eq!(home.json(&["wallet", "address", "foundry", "--json"])["address"], address);
}

#[test]
fn a_password_is_asked_for_on_the_terminal_and_not_shown() {
    let Some(python) = tool("TOLLWAY_PYTHON") else { return };
    let home = Home::new();
    // A terminal of its own; every question is answered when it has been asked, and the terminal hides what is typed.
    let program = "import os, pty, sys, termios, time\n\
                   answers = [line.encode() for line in sys.argv[1].split('|')]\n\
                   pid, terminal = pty.fork()\n\
                   if pid == 0:\n\
                   \x20   os.execv(sys.argv[2], sys.argv[2:])\n\
                   seen, asked = b'', 0\n\
                   while True:\n\
                   \x20   try:\n\
                   \x20       some = os.read(terminal, 1024)\n\
                   \x20   except OSError:\n\
                   \x20       break\n\
                   \x20   if not some:\n\
                   \x20       break\n\
                   \x20   seen += some\n\
                   \x20   while answers and seen.count(b': ', asked) > 0:\n\
                   \x20       asked = seen.index(b': ', asked) + 2\n\
                   \x20       end = time.monotonic() + 20\n\
                   \x20       while termios.tcgetattr(terminal)[3] & termios.ECHO:\n\
                   \x20           assert time.monotonic() < end, 'what is typed would be shown'\n\
                   \x20           time.sleep(0.001)\n\
                   \x20       os.write(terminal, answers.pop(0) + b'\\n')\n\
                   sys.stdout.buffer.write(seen)\n\
                   sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    let typed = |answers: &str, arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-c", program, answers, env!("CARGO_BIN_EXE_tollway")]).args(arguments);
        finish_in(&home, command)
    };
    let done = typed("a secret|a secret", &["wallet", "new", "agent", "--light"]);
    assert!(
        done.code == Some(0) && done.stdout.contains("--key keystore:agent"),
        "{}{}",
        done.stdout,
        done.stderr
    );
    assert!(!done.stdout.contains("a secret"), "{}", done.stdout);
    let done = typed("a secret", &["wallet", "address", "agent", "--check"]);
    assert!(done.code == Some(0) && done.stdout.contains("0x"), "{}", done.stdout);
    let done = typed("another", &["wallet", "address", "agent", "--check"]);
    assert!(done.code == Some(1) && done.stdout.contains("the password is wrong"), "{}", done.stdout);
    let done = typed("one|two", &["wallet", "new", "second", "--light"]);
    assert!(done.code == Some(1) && done.stdout.contains("not the same"), "{}", done.stdout);
    assert_eq!(std::fs::read_dir(home.keys()).unwrap().count(), 1);
}

/// A foreign program in a home without a password.
fn finish_in(home: &Home, mut command: Command) -> Done {
    command.env("XDG_DATA_HOME", home.0.path().join("data")).env_remove("TOLLWAY_PASSWORD");
    finish(command, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_funded_by_the_devnet_and_its_balance_is_told() {
    let home = Home::new();
    let account = home.import("agent", KEY)["address"].as_str().unwrap().to_owned();
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    let balance = ["wallet", "balance", "agent", "--json", "--rpc-url", &node.rpc_url];
    let decimals = |done: Done| {
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let object: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(object["address"], account);
        let rows = object["balances"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| format!("{} {}", row["symbol"].as_str().unwrap(), row["decimal"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let before = decimals(finish_aside(home.command(&balance)).await);
    assert_eq!(before, ["native 0", "USDC 0", "EURC 0"]);
    let fund = ["wallet", "fund", "agent", "--json", "--rpc-url", &node.rpc_url];
    let funded = decimals(finish_aside(home.command(&fund)).await);
    assert_eq!(funded, ["native 1", "USDC 1000", "EURC 1000"]);
    assert_eq!(decimals(finish_aside(home.command(&balance)).await), funded);
    let gone =
        finish_aside(home.command(&["wallet", "balance", "agent", "--rpc-url", "http://127.0.0.1:1"])).await;
    assert!(gone.code == Some(1) && gone.stderr.contains("--rpc-url"), "{}", gone.stderr);
    // Where there is no faucet, a link is shown that a wallet app opens.
    if let Some(anvil) = Node::start(Kind::Anvil, 84_532).await {
        let fund = ["wallet", "fund", &account, "--json", "--rpc-url", &anvil.rpc_url];
        let done = finish_aside(home.command(&fund)).await;
        let object: Value = serde_json::from_str(&done.stdout).unwrap();
        let usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
        let link = format!("ethereum:{usdc}@84532/transfer?address={account}");
        assert_eq!((&object["funded"], &object["link"]), (&json!(false), &json!(link)), "{}", done.stderr);
        // No token is there: what is not known is not nothing.
        let balance = ["wallet", "balance", &account, "--json", "--rpc-url", &anvil.rpc_url];
        let done = finish_aside(home.command(&balance)).await;
        let object: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!((done.code, &object["balances"][1]["amount"]), (Some(1), &Value::Null), "{}", done.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_key_is_in_it_pays() {
    let market = Market::open().await;
    let home = Home::new();
    let key = market.buyer_key();
    home.import("agent", &key);
    let remote = Remote::start(&key).await;
    let file = home.write("key", &key);
    let sources =
        ["env:A_KEY".to_owned(), format!("file:{file}"), "keystore:agent".to_owned(), remote.source.clone()];
    for (index, source) in sources.iter().enumerate() {
        let mut command = home.command(&["pay", "--json", "--key", source, &market.url("/data")]);
        command.env("A_KEY", &key).env("TOLLWAY_WEB3SIGNER_AUTHORIZATION", "Bearer word");
        let done = finish_aside(command).await;
        assert_eq!(done.code, Some(0), "{source}: {}", done.stderr);
        assert_eq!(market.handled(), index as u64 + 1, "{source}");
    }
    // Without the word the service signs nothing, and nothing is paid.
    let done = finish_aside(home.command(&["pay", "--key", &remote.source, &market.url("/data")])).await;
    assert!(done.code == Some(1) && done.stderr.contains("it answered 401"), "{}", done.stderr);
    assert_eq!(market.handled(), sources.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitators_lanes_may_be_in_files_and_behind_services() {
    let node = Node::start(Kind::Devnet, 31_337).await.unwrap();
    let home = Home::new();
    let one = home.import("lane", &ACCOUNTS[3].secret_key.to_string());
    let remote = Remote::start(&ACCOUNTS[4].secret_key.to_string()).await;
    let config = |keys: &str| {
        format!(
            "open = true\n[[networks]]\nnetwork = \"eip155:31337\"\nrpc_url = \"{}\"\nkeys = [{keys}]\n",
            node.rpc_url
        )
    };
    let good = home.write("good.toml", &config(&format!("\"keystore:lane\", \"{}\"", remote.source)));
    let mut command = home.command(&["facilitator", "--check", "--json", "--config", &good]);
    command.env("TOLLWAY_WEB3SIGNER_AUTHORIZATION", "Bearer word");
    let done = finish_aside(command).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let told = done.stdout.to_lowercase();
    for lane in [one["address"].as_str().unwrap(), &ACCOUNTS[4].address.to_string()] {
        assert!(told.contains(&lane.to_lowercase()), "{lane}: {told}");
    }
    let bad = home.write("bad.toml", &config("\"keystore:nobody\", \"keystore:lane\", \"gcp-kms:key\""));
    let mut command = home.command(&["facilitator", "--check", "--config", &bad]);
    command.env("TOLLWAY_PASSWORD", "wrong");
    let done = finish_aside(command).await;
    assert_eq!(done.code, Some(1));
    for part in [
        "networks[0].keys[0]: keystore:nobody: there is no key nobody",
        "networks[0].keys[1]: keystore:lane: the password is wrong",
        "networks[0].keys[2]: gcp-kms:key: ",
    ] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failing_command_tells_a_key_or_a_password() {
    let home = Home::new();
    home.import("agent", KEY);
    let remote = Remote::start(KEY).await;
    let prefixed = format!("0x{KEY}");
    let almost = format!("{KEY}00");
    let files = [home.write("almost", &almost), home.write("toml", &format!("keys = [\"{KEY}\"]"))];
    let config = home.write(
        "config.toml",
        &format!("open = true\n[[networks]]\nnetwork = \"eip155:31337\"\nrpc_url = \"http://127.0.0.1:1\"\nkeys = [\"{KEY}\", \"env:{KEY}\", \"env:ALMOST\", \"keystore:agent\"]\n"),
    );
    let (file, keystore) = (format!("file:{}", files[0]), format!("keystore:{}", files[1]));
    let url = "http://127.0.0.1:1/";
    let sources = [
        KEY,
        &prefixed,
        "env:ALMOST",
        &format!("env:{KEY}"),
        &file,
        &keystore,
        &format!("keystore:{KEY}"),
        &format!("aws-kms:{KEY}"),
        "aws-kms:alias/none",
        "gcp-kms:none",
        &format!("web3signer:{url}{KEY}"),
        &remote.source,
        "keystore:agent",
    ];
    let mut commands: Vec<_> = sources.into_iter().flat_map(|source| commands_with(source, url)).collect();
    for arguments in [
        vec!["facilitator", "--check", "--config", &config],
        vec![KEY],
        vec!["wallet", &prefixed],
        vec!["pay", KEY],
        vec!["wallet", "list", &prefixed],
        vec!["wallet", "fund", "agent", "--rpc-url", KEY],
        vec!["wallet", "new", KEY],
        vec!["wallet", "new", "a", "--password", PASSWORD],
        vec!["wallet", "new", "a", "--password", &format!("env:{KEY}")],
        vec!["wallet", "list", "--key-dir", &files[0]],
    ] {
        commands.push(arguments.into_iter().map(ToOwned::to_owned).collect());
    }
    let commands: Vec<_> = commands
        .into_iter()
        .map(|arguments| {
            let mut command = tollway();
            command
                .args(&arguments)
                .env("HOME", home.0.path())
                .env("XDG_DATA_HOME", home.0.path().join("data"));
            command.env("RUST_LOG", "trace").env("ALMOST", &almost);
            command
                .env("TOLLWAY_PASSWORD", "hunter2-is-wrong")
                .env("TOLLWAY_WEB3SIGNER_AUTHORIZATION", "word-hunter3");
            (arguments, command)
        })
        .collect();
    for (arguments, command) in commands {
        let done = tokio::task::spawn_blocking(move || finish(command, KEY)).await.unwrap();
        let told = format!("{}{}", done.stdout, done.stderr).to_lowercase();
        assert_ne!(done.code, Some(0), "{arguments:?}: {told}");
        for secret in [&KEY[..16], &KEY[20..40], &KEY[48..], "hunter2", "hunter3", PASSWORD] {
            assert!(!told.contains(secret), "{arguments:?} tells {secret}: {told}");
        }
    }
}

/// Every command that takes a key, with one that it cannot work with.
fn commands_with(source: &str, url: &str) -> Vec<Vec<String>> {
    let commands = [
        vec!["pay", "--key", source, url],
        vec!["wallet", "address", "--key", source],
        vec!["wallet", "balance", "--key", source, "--rpc-url", url],
        vec!["wallet", "fund", source, "--rpc-url", url],
        vec!["wallet", "import", "new", "--from", source],
        vec!["wallet", "export", "--yes", "--key", source],
    ];
    commands.into_iter().map(|words| words.into_iter().map(ToOwned::to_owned).collect()).collect()
}

/// A service that holds one key, for who knows the word.
struct Remote {
    source: String,
}

impl Remote {
    async fn start(key: &str) -> Self {
        let signer = Arc::new(LocalSigner::from_hex(key).unwrap());
        let address = signer.address();
        let point = public_key(&signer).await;
        let listed = point.clone();
        let routes = Router::new()
            .route(
                "/api/v1/eth1/publicKeys",
                get(move |headers: axum::http::HeaderMap| async move {
                    let is_known = headers.get("authorization").is_some_and(|value| value == "Bearer word");
                    if is_known { Ok(Json(vec![listed])) } else { Err(axum::http::StatusCode::UNAUTHORIZED) }
                }),
            )
            .route(
                &format!("/api/v1/eth1/sign/{point}"),
                post(|State(signer): State<Arc<LocalSigner>>, Json(body): Json<Value>| async move {
                    let data: tollway_evm::Bytes = body["data"].as_str().unwrap().parse().unwrap();
                    tollway_evm::Bytes::from(signer.sign(&data).await.unwrap().as_bytes()).to_string()
                }),
            )
            .with_state(signer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = format!("web3signer:http://{}/{address}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { source }
    }
}

/// The point of a key, as Web3Signer lists it: found by a signature.
async fn public_key(signer: &LocalSigner) -> String {
    let digest = tollway_evm::keccak256(b"who are you");
    let signed = signer.sign(b"who are you").await.unwrap();
    let point = signed.recover_from_prehash(&digest).unwrap().to_encoded_point(false);
    tollway_evm::Bytes::copy_from_slice(&point.as_bytes()[1..]).to_string()
}
