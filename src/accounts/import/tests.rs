use proptest::prelude::*;

use super::*;

const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
const SHA512: &str =
    "$6$0123456789abcdef$VV2mF.vWG3kW1.sb1R1N5vYmhlXkKHJvNZkbHqkpFM0eZkPgZc4hyLQ9bqkVCXPKfHxBvwyh2Rq2ARcnTz8v01";

fn read_one(path: &str, text: &str) -> (Records, Vec<String>) {
    read_all(&[(path, text)])
}

fn read_all(files: &[(&str, &str)]) -> (Records, Vec<String>) {
    let files: Vec<(String, String)> = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    let import = read(&files, "a.test", &Records::default());
    let wrong = import
        .wrong
        .iter()
        .map(|wrong| format!("{}: {}", wrong.place, wrong.reason));
    let wrong = wrong.collect();
    (import.records(&Records::default(), || {}).unwrap(), wrong)
}

#[test]
fn a_directory_of_docker_mailserver() {
    let accounts = format!(
        "\u{feff}# people\r\n\r\nAlice@A.test|{{SHA512-CRYPT}}{SHA512}\r\n007@b.test|{{BLF-CRYPT}}{BCRYPT}  \n\
         o'neil@b.test|{{BLF-CRYPT}}{BCRYPT}\nalice@a.test|{{SHA512-CRYPT}}{SHA512}\nbob@b.test|{{NOSUCH}}x\n\
         ../x@b.test|{{BLF-CRYPT}}{BCRYPT}\n007@b.test|{{SHA512-CRYPT}}{SHA512}\nnothing"
    );
    let aliases = "info@a.test alice@a.test,x@example.org\n@b.test\t007@b.test, o'neil@b.test\nlost@a.test\n";
    let quotas = "ALICE@a.test:5G\n007@b.test:0\nnobody@a.test:1G\no'neil@b.test:5\n";
    let (records, wrong) = read_all(&[
        ("/d/dovecot-quotas.cf", quotas),
        ("/d/postfix-accounts.cf", &accounts),
        ("/d/postfix-virtual.cf", aliases),
    ]);
    let addresses: Vec<&str> = records.accounts.keys().map(String::as_str).collect();
    assert_eq!(addresses, ["007@b.test", "alice@a.test", "o'neil@b.test"]);
    assert_eq!(records.accounts["alice@a.test"].quota, "5G".parse().ok());
    assert_eq!(records.aliases["@b.test"].targets, ["007@b.test", "o'neil@b.test"]);
    let expected = [
        "/d/postfix-accounts.cf:7: ",
        "/d/postfix-accounts.cf:8: ../x@b.test: ",
        "/d/postfix-accounts.cf:9: 007@b.test is there twice, and otherwise in /d/postfix-accounts.cf:4",
        "/d/postfix-accounts.cf:10: is no line",
        "/d/postfix-virtual.cf:3: lost@a.test has no target",
        "/d/dovecot-quotas.cf:3: nobody@a.test is neither imported nor there",
        "/d/dovecot-quotas.cf:4: o'neil@b.test: 5 must be",
    ];
    assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
    for (wrong, expected) in wrong.iter().zip(expected) {
        assert!(wrong.starts_with(expected), "{expected}: {wrong}");
    }
}

#[test]
fn a_passwd_file_with_and_without_schemes() {
    let text = format!(
        "a@a.test:{SHA512}:19000:0:99999:7:::\nb:{{BLF-CRYPT}}{BCRYPT}:5000:5000::/home:: userdb_quota_rule=*:storage=5G\n\
         c:{{plain}}secret-1\nd:secret-2\ne:!:\nf:$1$salt$qJH7.N4xYta3aEG/dfqo/0\n"
    );
    let (records, wrong) = read_one("/t/users", &text);
    assert_eq!(records.accounts["a@a.test"].hash, format!("{{SHA512-CRYPT}}{SHA512}"));
    assert_eq!(records.accounts["b@a.test"].quota, "5G".parse().ok());
    assert!(password::verifies("secret-1", &records.accounts["c@a.test"].hash));
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(!wrong.concat().contains("secret"), "{wrong:?}");
}

#[test]
fn csv_with_quoted_fields() {
    let text = format!(
        "\u{feff}Address, Password,quota,role\r\na@a.test,\"one, \"\"two\"\"\",5G,admin\r\nb,{BCRYPT},,\nc,x\nd,,,\ne,x,5,\nf,x,,boss\n"
    );
    let (records, wrong) = read_one("/t/people.csv", &text);
    let one = &records.accounts["a@a.test"];
    assert!(password::verifies("one, \"two\"", &one.hash) && one.role == Role::Administrator);
    assert_eq!(records.accounts.len(), 2);
    let lines: Vec<&str> = wrong.iter().map(|wrong| wrong.split(": ").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "/t/people.csv:4",
            "/t/people.csv:5",
            "/t/people.csv:6",
            "/t/people.csv:7"
        ]
    );
    let (_, wrong) = read_one("/t/people.csv", "address,password,shoe\n");
    assert!(wrong[0].contains("\"shoe\" is none of"), "{wrong:?}");
}

#[test]
fn an_export_comes_back_as_live_accounts() {
    let (mut records, _) = read_one(
        "/t/users",
        &format!("a:{{BLF-CRYPT}}{BCRYPT}\nb:{{BLF-CRYPT}}{BCRYPT}\n"),
    );
    records.domains.insert("c.test".to_owned());
    let mut declared = records.clone();
    let account = declared.accounts.get_mut("a@a.test").unwrap();
    account.origin = Some("MAILROOM_ACCOUNTS".to_owned());
    let (back, wrong) = read_one("-", &declared.text("all accounts"));
    assert_eq!((back, wrong), (records, Vec::new()));
    let (_, wrong) = read_one("-", "{\"mailroom\":\"x\",\"version\":1}\n{\"domain\":3}\n");
    assert!(wrong[0].starts_with("-:2: "), "{wrong:?}");
}

#[test]
fn what_is_none_of_these_is_refused() {
    for text in ["", "# nothing\n", "hello\n"] {
        assert_eq!(read_one("/t/x", text).1.len(), 1, "{text}");
    }
    assert_eq!(read_one("/t/x", "info@a.test a@a.test\n").0.aliases.len(), 1);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "\\PC*", name in "(postfix-accounts.cf|postfix-virtual.cf|dovecot-quotas.cf|x)") {
        let headers = ["", "address,password\n", "a@a.test|{X}y\n", "a@a.test:$6$\n", "{\"mailroom\":\"x\",\"version\":1}\n"];
        for header in headers {
            let files = [(name.clone(), format!("{header}{text}"))];
            read(&files, "a.test", &Records::default());
        }
    }
}
