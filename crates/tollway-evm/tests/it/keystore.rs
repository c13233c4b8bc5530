//! Encrypted files: those that others published open, those that want too much are refused, and nothing tells a key.

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use serde_json::{Value, json};
use tollway_evm::keystore::{Hardness, Keystore, KeystoreError};
use tollway_evm::{LocalSigner, Signer};

/// The vectors that were published with the format, and geth's for keys that begin with zeros: cipher's vector, text,
/// function, its parameters, checksum, password, key.
fn published() -> Vec<(Value, &'static str, &'static str)> {
    let file = |iv: &str, text: &str, kdf: &str, parameters: Value, mac: &str| {
        json!({
            "crypto": {
                "cipher": "aes-128-ctr", "cipherparams": { "iv": iv }, "ciphertext": text, "kdf": kdf,
                "kdfparams": parameters, "mac": mac,
            },
            "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3,
        })
    };
    let scrypt =
        |n: u64, r: u64, p: u64, salt: &str| json!({ "dklen": 32, "n": n, "r": r, "p": p, "salt": salt });
    let rounds = json!({
        "c": 262_144, "dklen": 32, "prf": "hmac-sha256",
        "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
    });
    vec![
        (
            file(
                "83dbcc02d8ccb40e466191a123791e0e",
                "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
                "scrypt",
                scrypt(262_144, 1, 8, "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"),
                "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
            ),
            "testpassword",
            "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
        ),
        (
            file(
                "6087dab2f9fdbbfaddc31a909735c1e6",
                "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
                "pbkdf2",
                rounds,
                "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
            ),
            "testpassword",
            "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
        ),
        (
            file(
                "e0c41130a323adc1446fc82f724bca2f",
                "9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984",
                "scrypt",
                scrypt(2, 8, 1, "711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63"),
                "d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5",
            ),
            "foo",
            "00fa7b3db73dc7dfdf8c5fbdb796d741e4488628c41fc4febd9160a866ba0f35",
        ),
        (
            file(
                "3ca92af36ad7c2cd92454c59cea5ef00",
                "108b7d34f3442fc26ab1ab90ca91476ba6bfa8c00975a49ef9051dc675aa",
                "scrypt",
                scrypt(2, 8, 1, "d0769e608fb86cda848065642a9c6fa046845c928175662b8e356c77f914cd3b"),
                "75d0e6759f7b3cefa319c3be41680ab6beea7d8328653474bd06706d4cc67420",
            ),
            "foo",
            "000081c29e8142bb6a81bef5a92bda7a8328a5c85bb2f9542e76f9b0f94fc018",
        ),
    ]
}

/// A good file that opens at once, for tests that break it: that with the password "foo".
fn quick() -> Value {
    let (mut file, _, key) = published().remove(2);
    let account = LocalSigner::from_hex(key).unwrap().address().to_string();
    file["address"] = account.trim_start_matches("0x").to_lowercase().into();
    file
}

fn read(file: &Value) -> Result<Keystore, KeystoreError> {
    Keystore::read(file.to_string().as_bytes())
}

#[test]
fn the_published_files_open_and_are_written_as_they_were_read() {
    for (file, password, key) in published() {
        let keystore = read(&file).unwrap();
        assert_eq!(keystore.unlock(password.as_bytes()).unwrap().expose_hex().trim_start_matches("0x"), key);
        let written: Value = serde_json::from_str(&keystore.to_json()).unwrap();
        assert_eq!(written, file);
    }
}

#[test]
fn a_file_of_geth_with_an_account_and_an_empty_password_opens() {
    let file = json!({
        "address": "45dea0fb0bba44f4fcf290bba71fd57d7117cbb8",
        "crypto": {
            "cipher": "aes-128-ctr",
            "ciphertext": "b87781948a1befd247bff51ef4063f716cf6c2d3481163e9a8f42e1f9bb74145",
            "cipherparams": { "iv": "dc4926b48a105133d2f16b96833abf1e" },
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32, "n": 2, "p": 1, "r": 8,
                "salt": "004244bbdc51cadda545b1cfa43cff9ed2ae88e08c61f1479dbb45410722f8f0",
            },
            "mac": "39990c1684557447940d4c69e06b1b82b2aceacb43f284df65c956daf3046b85",
        },
        "id": "ce541d8d-c79b-40f8-9f8c-20f59616faba",
        "version": 3,
    });
    let keystore = read(&file).unwrap();
    assert_eq!(keystore.unlock(b"").unwrap().address(), keystore.address().unwrap());
    let mut capital = file.clone();
    capital["Crypto"] = capital["crypto"].take();
    assert_eq!(read(&capital).unwrap(), keystore);
}

#[test]
fn a_file_of_a_stranger_may_not_ask_for_more_than_a_key_is_worth() {
    let scrypt = |name: &str, value: Value| {
        let mut file = quick();
        file["crypto"]["kdfparams"][name] = value;
        (format!("crypto.kdfparams.{name}"), file)
    };
    let pbkdf2 = |name: &str, value: Value| {
        let mut file = published().remove(1).0;
        file["crypto"]["kdfparams"][name] = value;
        (format!("crypto.kdfparams.{name}"), file)
    };
    let mut all = vec![
        scrypt("n", json!(u64::MAX)),
        scrypt("n", json!(1u64 << 63)),
        scrypt("n", json!(1u64 << 30)),
        scrypt("n", json!(1u64 << 19)),
        scrypt("n", json!(3)),
        scrypt("n", json!(1)),
        scrypt("n", json!(0)),
        scrypt("n", json!(-2)),
        scrypt("r", json!(0)),
        scrypt("r", json!(u64::from(u32::MAX))),
        scrypt("p", json!(0)),
        scrypt("p", json!(u64::from(u32::MAX))),
        scrypt("dklen", json!(31)),
        scrypt("dklen", json!(1u64 << 40)),
        scrypt("salt", json!("00".repeat(257))),
        pbkdf2("c", json!(0)),
        pbkdf2("c", json!(10_000_001)),
        pbkdf2("c", json!(u64::MAX)),
        pbkdf2("prf", json!("hmac-sha1")),
    ];
    let (_, mut slow) = scrypt("n", json!(1u64 << 18));
    slow["crypto"]["kdfparams"]["p"] = json!(9);
    all.push(("crypto.kdfparams.p".to_owned(), slow));
    let (_, mut wide) = scrypt("r", json!(4096));
    wide["crypto"]["kdfparams"]["p"] = json!(4096);
    all.push(("crypto.kdfparams.n".to_owned(), wide));
    for (field, file) in all {
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains(&format!(": {field}: ")), "{field}: {error}");
    }
    let (_, mut hardest) = scrypt("n", json!(1u64 << 18));
    hardest["crypto"]["kdfparams"]["p"] = json!(8);
    assert!(read(&hardest).is_ok(), "what geth writes, eight times over, is no attack");
    let long = format!("{}{}", quick(), " ".repeat(20_000));
    assert!(Keystore::read(long.as_bytes()).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn what_is_no_keystore_is_refused_by_the_field_that_is_wrong() {
    let with = |path: &[&str], value: Value| {
        let mut file = quick();
        let place = path.iter().fold(&mut file, |place, name| &mut place[*name]);
        *place = value;
        file
    };
    for (file, field) in [
        (with(&["version"], json!(1)), "version"),
        (with(&["version"], json!("3")), "version"),
        (with(&["address"], json!("45dea0")), "address"),
        (with(&["crypto"], Value::Null), "crypto"),
        (with(&["crypto", "cipher"], json!("aes-256-ctr")), "crypto.cipher"),
        (with(&["crypto", "cipherparams", "iv"], json!("00")), "crypto.cipherparams.iv"),
        (with(&["crypto", "ciphertext"], json!("")), "crypto.ciphertext"),
        (with(&["crypto", "ciphertext"], json!("00".repeat(33))), "crypto.ciphertext"),
        (with(&["crypto", "mac"], json!("zz".repeat(32))), "crypto.mac"),
        (with(&["crypto", "kdf"], json!("argon2")), "crypto.kdf"),
        (with(&["crypto", "kdfparams"], json!([])), "crypto.kdfparams"),
    ] {
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains(&format!(": {field}: ")), "{field}: {error}");
    }
    let twice = quick().to_string().replacen('{', "{\"version\":3,", 1);
    assert!(Keystore::read(twice.as_bytes()).is_err(), "two values of one field are none");
}

#[test]
fn a_file_that_was_changed_gives_no_key() {
    let flip = |path: [&str; 2]| {
        let mut file = quick();
        let place = path
            .iter()
            .filter(|name| !name.is_empty())
            .fold(&mut file["crypto"], |place, name| &mut place[*name]);
        let text = place.as_str().unwrap().to_owned();
        let last = if text.ends_with('0') { "1" } else { "0" };
        *place = format!("{}{last}", &text[..text.len() - 1]).into();
        read(&file).unwrap().unlock(b"foo").unwrap_err()
    };
    assert_eq!(read(&quick()).unwrap().unlock(b"fop").unwrap_err(), KeystoreError::Password);
    assert_eq!(flip(["ciphertext", ""]), KeystoreError::Password);
    assert_eq!(flip(["mac", ""]), KeystoreError::Password);
    assert_eq!(flip(["kdfparams", "salt"]), KeystoreError::Password);
    // The checksum leaves the cipher's vector out: only the account tells that this is another key.
    assert!(matches!(flip(["cipherparams", "iv"]), KeystoreError::Address { .. }));
    let mut other = quick();
    other["address"] = json!("45dea0fb0bba44f4fcf290bba71fd57d7117cbb8");
    assert!(matches!(read(&other).unwrap().unlock(b"foo").unwrap_err(), KeystoreError::Address { .. }));
}

#[test]
fn nothing_that_is_printed_holds_the_key() {
    let (_, _, key) = published().remove(2);
    let signer = LocalSigner::from_hex(key).unwrap();
    let locked = Keystore::lock(&signer, b"foo", Hardness::Light).unwrap();
    let mut told = format!("{locked:?} {} {signer:?} {:?}", locked.to_json(), locked.unlock(b"foo").unwrap());
    for file in [json!({ "version": 3, "key": key }), json!(key), json!({ "version": 3, "address": key })] {
        let error = read(&file).unwrap_err();
        told.push_str(&format!(" {error} {error:?}"));
    }
    let error = Keystore::read(key.as_bytes()).unwrap_err();
    told.push_str(&format!(" {error} {error:?} {:?}", locked.unlock(b"wrong").unwrap_err()));
    assert!(!told.contains(&key[2..18]) && !told.contains(&key[40..]), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_key_and_password_come_back(secret in prop::array::uniform32(1u8..=254), password in prop::collection::vec(any::<u8>(), 0..40)) {
        let signer = LocalSigner::from_bytes(secret.into()).unwrap();
        let locked = Keystore::lock(&signer, &password, Hardness::Light).unwrap();
        let again = Keystore::read(locked.to_json().as_bytes()).unwrap();
        assert_eq!(*again.unlock(&password).unwrap().expose_hex(), *signer.expose_hex());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400, byte in any::<u8>()) {
        let _ = Keystore::read(&bytes);
        let mut file = quick().to_string().into_bytes();
        let at = at % file.len();
        file[at] = byte;
        let _ = Keystore::read(&file);
    }
}
